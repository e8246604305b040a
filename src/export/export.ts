/**
 * `fltac export`: a saved round's adapters as PEFT directories, or folded into the backbone as whole models; the whole
 * models of full fine-tuning as they are.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { scenarioRow } from '../config/scenarios.js';
import { FltacError } from '../errors.js';
import type { Engine, EngineFace } from '../federation/engine.js';
import { startRow } from '../federation/initial.js';
import { assertRunOptions } from '../run/arguments.js';
import { PEFT_FILES, writePeftDirectory } from '../run/artifacts.js';
import { assertWritable, makeFolders, removeEmptyFolders, writeTextFile } from '../run/files.js';
import { RUN_FILES } from '../run/folder.js';
import type { Log, ProgressHandle } from '../run/log.js';
import { WHOLE_MODEL, writeModelCompanions, writeWholeModel } from '../run/model-directory.js';
import { readRoundOfRun, type ChooseOptions, type ChosenAdapter, type RoundOfRun } from './adapters.js';
import { isModelCard, modelCard, namedInCode, readScores, type TaskScores } from './card.js';

export type ExportFormat = 'peft' | 'merged';

export interface ExportOptions extends ChooseOptions {
  format: ExportFormat;
  /** takes a folder for each adapter; default: `exported/<format>` of the run's folder */
  out?: string | undefined;
  /** writes into folders that hold something else than an earlier export */
  overwrite?: boolean | undefined;
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
  /** names of what was written into it; the folder may hold other files, which are not part of the export */
  files: readonly string[];
}

export interface ExportOutcome {
  format: ExportFormat;
  round: number;
  exported: readonly Exported[];
}

/**
 * Writes each chosen adapter into a folder of its own, with a model card. A folder that is there is written over file by
 * file, where it is that of an earlier export.
 *
 * @throws FltacError USAGE for what is not in the run, or for a folder that holds something else; IO; any error of the model (merged); ABORTED
 */
export async function exportRun(options: ExportOptions, context: ExportContext): Promise<ExportOutcome> {
  assertRunOptions(options, context, 'exportRun');
  const parts = context.parts ?? (await productionParts());
  const run = await readRoundOfRun(parts.face, options);
  const whole = run.spec.tuning === 'full';
  if (whole && options.format === 'peft') {
    context.log.info('the run trained whole models, which are no adapters for PEFT: they are written for transformers');
  }
  const format = whole ? 'merged' : options.format;
  const out = path.resolve(options.out ?? path.join(run.folder, 'exported', format));
  // Below the run's folder all is fltac's own.
  if (options.out !== undefined && options.overwrite !== true) {
    for (const { name } of run.adapters) await assertFree(path.join(out, name));
  }
  const made: string[] = [];
  try {
    for (const { name } of run.adapters) made.push(...(await assertWritable(path.join(out, name, CARD))));
    await warnOfMissing(run.folder, context.log);
    const scores = await readScores(run.folder, run.round);
    const exported = await (whole ? writeWhole : WRITERS[format])(run, { out, scores, context, parts });
    tellShares(run, context.log);
    return { format, round: run.round, exported };
  } finally {
    await removeEmptyFolders(made);
  }
}

/** The adapters are whole without these; the card has less to say, and the run cannot be checked any more. */
const JOURNALS = [
  { name: RUN_FILES.metrics, lost: 'the card has no scores' },
  { name: RUN_FILES.assignments, lost: 'nothing tells how the adapters came about' },
] as const;

async function warnOfMissing(folder: string, log: Log): Promise<void> {
  const names = await readdir(folder);
  for (const { name, lost } of JOURNALS) {
    if (!names.includes(name)) log.warn(`${path.join(folder, name)} is missing: ${lost}`);
  }
}

function tellShares({ adapters }: RoundOfRun, log: Log): void {
  for (const { name, cluster, share } of adapters) {
    if (share === 1) continue;
    const held = `${(100 * share).toFixed(0)} % of the task's samples`;
    log.info(`${name}: its clients hold different adapters; exported is that of cluster ${cluster} with ${held}`);
  }
}

/** The model card, as the Hub looks for it. */
const CARD = 'README.md';

/** @throws FltacError USAGE for a folder that is neither empty nor marked by a card as an earlier export */
async function assertFree(folder: string): Promise<void> {
  // What cannot be listed is no folder yet, or told where it is written to.
  const names = await readdir(folder).catch(() => []);
  if (names.length === 0 || isModelCard(await readFile(path.join(folder, CARD), 'utf8').catch(() => ''))) return;
  const shown = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
  throw new FltacError(
    'USAGE',
    `the folder ${folder} holds ${shown}, which is no export of fltac: choose another --out, or give --overwrite to ` +
      'write into it all the same',
  );
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
    const { layout, spec, output } = run;
    const base = { ...run.base, id: namedInCode(run.base) };
    const kind = { input: scenarioRow(run.config).input, output };
    await writePeftDirectory(parts.face, folder, { layout, flat: adapter.flat, spec, base, kind });
    await writeTextFile(path.join(folder, CARD), modelCard(run, adapter, scores, 'peft'));
    exported.push({ name: adapter.name, cluster: adapter.cluster, folder, files: [...PEFT_FILES, CARD] });
  }
  return exported;
}

async function writeWhole(run: RoundOfRun, { out, scores, context, parts }: Job): Promise<Exported[]> {
  const backbone = await parts.modelFolder(run, context);
  const exported: Exported[] = [];
  for (const adapter of run.adapters) {
    const { name, cluster, flat } = adapter;
    const folder = path.join(out, name);
    const { layout, spec } = run;
    const base = { folder: backbone };
    const files = await writeWholeModel(parts.face, folder, { layout, flat, spec, base, kind: run });
    await writeTextFile(path.join(folder, CARD), modelCard(run, adapter, scores, 'merged'));
    exported.push({ name, cluster, folder, files: [...files, CARD] });
  }
  return exported;
}

async function writeMerged(run: RoundOfRun, { out, scores, context, parts }: Job): Promise<Exported[]> {
  const { log, signal } = context;
  const model = await parts.modelFolder(run, context);
  const { config } = run;
  const engine = await parts.face.load(model, { device: 'cpu', dtype: 'auto', threads: config.threads, signal });
  try {
    const exported: Exported[] = [];
    for (const adapter of run.adapters) {
      const folder = path.join(out, adapter.name);
      const files = await mergeOne(engine, run, adapter, { model, folder, log, signal });
      await writeTextFile(path.join(folder, CARD), modelCard(run, adapter, scores, 'merged'));
      exported.push({ name: adapter.name, cluster: adapter.cluster, folder, files: [...files, CARD] });
    }
    return exported;
  } finally {
    engine.dispose();
  }
}

/** Writes one merged model. @returns the names of its files */
async function mergeOne(
  engine: Engine,
  { config, spec, family, output }: RoundOfRun,
  { flat }: ChosenAdapter,
  { model, folder, log, signal }: { model: string; folder: string; log: Log; signal: AbortSignal },
): Promise<string[]> {
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
    await engine.merge(model, bank, 0, path.join(folder, WHOLE_MODEL), { onProgress, signal });
  } finally {
    bar?.done();
    bank.dispose();
  }
  return [
    WHOLE_MODEL,
    ...(await writeModelCompanions(folder, { backbone: model, family, output, labels: spec.numLabels })),
  ];
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
