/** `fltac export`: a saved round's adapters as PEFT directories, or folded into the backbone as whole models. */
import { cp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { scenarioRow } from '../config/scenarios.js';
import { describeArchitecture } from '../engine/index.js';
import { FltacError, messageOf } from '../errors.js';
import type { Engine, EngineFace } from '../federation/engine.js';
import { startRow } from '../federation/initial.js';
import { writePeftDirectory } from '../run/artifacts.js';
import { assertWritable, makeFolders, writeJsonFile, writeTextFile } from '../run/files.js';
import type { Log, ProgressHandle } from '../run/log.js';
import { readRoundOfRun, type ChooseOptions, type ChosenAdapter, type RoundOfRun } from './adapters.js';
import { modelCard, readScores, type TaskScores } from './card.js';

export type ExportFormat = 'peft' | 'merged';

export interface ExportOptions extends ChooseOptions {
  format: ExportFormat;
  /** takes a folder for each adapter; default: `exported/<format>` of the run's folder */
  out?: string | undefined;
}

export interface ExportContext {
  log: Log;
  signal: AbortSignal;
  /** default: the libtorch engine and the real models */
  parts?: ExportParts;
}

/** What an export needs of the rest of fltac; tests give others. */
export interface ExportParts {
  face: EngineFace;
  /** the backbone's folder, downloaded where it is not there */
  modelFolder: (run: RoundOfRun, context: Pick<ExportContext, 'log' | 'signal'>) => Promise<string>;
}

/** One exported adapter or model. */
export interface Exported {
  name: string;
  cluster: number;
  /** absolute path */
  folder: string;
}

export interface ExportOutcome {
  format: ExportFormat;
  round: number;
  exported: readonly Exported[];
}

/**
 * Writes each chosen adapter into a folder of its own, with a model card. A folder that is there is written over file by
 * file.
 *
 * @throws FltacError USAGE for what is not in the run; IO; any error of the model (merged); ABORTED
 */
export async function exportRun(options: ExportOptions, context: ExportContext): Promise<ExportOutcome> {
  const { format } = options;
  const parts = context.parts ?? (await productionParts());
  const run = await readRoundOfRun(parts.face, options);
  const out = path.resolve(options.out ?? path.join(run.folder, 'exported', format));
  await makeFolders(out);
  await assertWritable(path.join(out, 'README.md'));
  const scores = await readScores(run.folder, run.round);
  const exported = await WRITERS[format](run, { out, scores, context, parts });
  for (const { name, cluster, share } of run.adapters) {
    if (share === 1) continue;
    const held = `${(100 * share).toFixed(0)} % of the task's samples`;
    context.log.info(
      `${name}: its clients hold different adapters; exported is that of cluster ${cluster} with ${held}`,
    );
  }
  return { format, round: run.round, exported };
}

interface Job {
  out: string;
  scores: TaskScores;
  context: ExportContext;
  parts: ExportParts;
}

const WRITERS: Readonly<Record<ExportFormat, (run: RoundOfRun, job: Job) => Promise<Exported[]>>> = {
  peft: writePeft,
  merged: writeMerged,
};

async function writePeft(run: RoundOfRun, { out, scores, parts }: Job): Promise<Exported[]> {
  const exported: Exported[] = [];
  for (const adapter of run.adapters) {
    const folder = path.join(out, adapter.name);
    const { layout, spec, base, output } = run;
    const kind = { input: scenarioRow(run.config).input, output };
    await writePeftDirectory(parts.face, folder, { layout, flat: adapter.flat, spec, base, kind });
    await writeTextFile(path.join(folder, 'README.md'), modelCard(run, adapter, scores, 'peft'));
    exported.push({ name: adapter.name, cluster: adapter.cluster, folder });
  }
  return exported;
}

/** The class of transformers that reads a merged model, by `model_type`. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  bert: 'BertForSequenceClassification',
  roberta: 'RobertaForSequenceClassification',
  distilbert: 'DistilBertForSequenceClassification',
  vit: 'ViTForImageClassification',
  deit: 'DeiTForImageClassification',
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
};

/** Files of a backbone's folder that a merged model takes along. */
const COMPANIONS = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.txt',
  'generation_config.json',
  'preprocessor_config.json',
];

async function writeMerged(run: RoundOfRun, { out, scores, context, parts }: Job): Promise<Exported[]> {
  const { log, signal } = context;
  const model = await parts.modelFolder(run, context);
  const { config } = run;
  const engine = await parts.face.load(model, { device: 'cpu', dtype: 'auto', threads: config.threads, signal });
  try {
    const exported: Exported[] = [];
    for (const adapter of run.adapters) {
      const folder = path.join(out, adapter.name);
      await mergeOne(engine, run, adapter, { model, folder, log, signal });
      await writeTextFile(path.join(folder, 'README.md'), modelCard(run, adapter, scores, 'merged'));
      exported.push({ name: adapter.name, cluster: adapter.cluster, folder });
    }
    return exported;
  } finally {
    engine.dispose();
  }
}

async function mergeOne(
  engine: Engine,
  { config, spec, output }: RoundOfRun,
  { flat }: ChosenAdapter,
  { model, folder, log, signal }: { model: string; folder: string; log: Log; signal: AbortSignal },
): Promise<void> {
  await makeFolders(folder);
  let bar: ProgressHandle | undefined;
  const onProgress = (done: number, total: number) => {
    bar ??= log.progress(`merging into ${path.basename(folder)}`, total);
    bar.update(done);
  };
  const bank = engine.createBank(spec, 1);
  try {
    // Draws the frozen head, where there is one, besides the row, as the run did.
    startRow(bank, config.seed);
    bank.set(0, flat);
    await engine.merge(model, bank, 0, path.join(folder, 'model.safetensors'), { onProgress, signal });
  } finally {
    bar?.done();
    bank.dispose();
  }
  await writeJsonFile(path.join(folder, 'config.json'), await mergedConfig(model, spec.numLabels, output));
  for (const name of COMPANIONS) {
    await cp(path.join(model, name), path.join(folder, name), { dereference: true }).catch((cause: unknown) => {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw new FltacError('IO', `${path.join(folder, name)} cannot be written: ${messageOf(cause)}`, { cause });
    });
  }
}

/** The backbone's config.json with the class that reads the model and its labels. */
async function mergedConfig(
  model: string,
  labels: number,
  output: RoundOfRun['output'],
): Promise<Record<string, unknown>> {
  const file = path.join(model, 'config.json');
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
  const { family } = describeArchitecture(text, file);
  const config = JSON.parse(text) as Record<string, unknown>;
  const named = Array.from({ length: labels }, (_, i) => [`LABEL_${i}`, i] as const);
  const classes = {
    id2label: Object.fromEntries(named.map(([name, i]) => [String(i), name])),
    label2id: Object.fromEntries(named),
  };
  const architecture = ARCHITECTURES[family];
  if (architecture === undefined) {
    throw new FltacError('INTERNAL', `no transformers class is known for the family ${family}`);
  }
  return { ...config, architectures: [architecture], ...(output === 'classes' ? classes : {}) };
}

async function productionParts(): Promise<ExportParts> {
  const [{ nativeEngine }, { resolveModel }] = await Promise.all([
    import('../federation/native-engine.js'),
    import('../data/model.js'),
  ]);
  return {
    face: nativeEngine,
    modelFolder: async (run, context) => {
      const pinned = run.base.revision === 'local' ? {} : { modelRevision: run.base.revision };
      return (await resolveModel({ ...run.config, ...pinned }, context)).folder;
    },
  };
}
