/** Folders that transformers loads a whole model from: its weights, config.json, and what reads its input. */
import { cp, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AdapterLayout, AdapterSpec, ArchitectureInfo } from '../engine/types.js';
import { FltacError, messageOf } from '../errors.js';
import type { EngineFace } from '../federation/engine.js';
import { namedTensors, writeAdapterFile } from './artifacts.js';
import { makeFolders, writeJsonFile } from './files.js';

/** The file that holds a whole model's weights. */
export const WHOLE_MODEL = 'model.safetensors';

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

/** What a whole model's folder needs to be known besides its weights. */
export interface ModelKind {
  /** the backbone's own folder */
  backbone: string;
  family: string;
  output: ArchitectureInfo['output'];
  /** of the classification head */
  labels: number;
  /** of the weights, where it is not that of the backbone's files */
  dtype?: string;
}

/**
 * Copies what reads the model's input, and last writes config.json with the class that reads the model and its labels.
 *
 * @returns the names of the files
 * @throws FltacError IO
 */
export async function writeModelCompanions(folder: string, kind: ModelKind): Promise<string[]> {
  const files: string[] = [];
  for (const name of COMPANIONS) if (await copyCompanion(kind.backbone, folder, name)) files.push(name);
  await writeJsonFile(path.join(folder, 'config.json'), await modelConfig(kind));
  return [...files, 'config.json'];
}

/** @returns whether the backbone's folder has it */
async function copyCompanion(backbone: string, folder: string, name: string): Promise<boolean> {
  try {
    await cp(path.join(backbone, name), path.join(folder, name), { dereference: true });
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new FltacError('IO', `${path.join(folder, name)} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

async function modelConfig({ backbone, family, output, labels, dtype }: ModelKind): Promise<Record<string, unknown>> {
  const file = path.join(backbone, 'config.json');
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
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
  return {
    ...config,
    // transformers 4 has the first name only, 5 writes the second.
    ...(dtype === undefined ? {} : { torch_dtype: dtype, dtype }),
    architectures: [architecture],
    ...(output === 'classes' ? classes : {}),
  };
}

/**
 * Writes a whole model that was trained, in float32.
 *
 * @returns the names of its files
 * @throws FltacError IO; INTERNAL when the weights do not read back equal
 */
export async function writeWholeModel(
  face: EngineFace,
  folder: string,
  trained: {
    layout: AdapterLayout;
    /** layout.size values */
    flat: Float32Array;
    spec: AdapterSpec;
    /** the backbone that training began with */
    base: { folder: string };
    kind: Pick<ArchitectureInfo, 'family' | 'output'>;
  },
): Promise<string[]> {
  const { layout, flat, spec, base, kind } = trained;
  await makeFolders(folder);
  await writeAdapterFile(face, path.join(folder, WHOLE_MODEL), layout, namedTensors(layout, flat), flat);
  const { family, output } = kind;
  const labels = spec.numLabels;
  const model = { backbone: base.folder, family, output, labels, dtype: 'float32' };
  return [WHOLE_MODEL, ...(await writeModelCompanions(folder, model))];
}
