/** The small models of test/fixtures/families, as they are or changed, and examples for them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AdapterBank, Backbone, readSafetensors, writeSafetensors } from '../../src/engine/index.js';
import type { AdapterSpec, ArchiveTensor, LoadOptions, PackedImages, PackedSequences } from '../../src/engine/index.js';
import { Generator } from '../../src/numpy/index.js';
import { familyFixture, temporaryFolder } from './files.js';
import { offsetsOf, plainPreprocess } from './reference-batches.js';

/** A value of config.json; `undefined` takes the key out. */
export type Changes = Readonly<Record<string, unknown>>;

/** The text of a fixture's config.json with keys changed. */
export function changedConfig(name: string, changes: Changes): string {
  const config = JSON.parse(readFileSync(join(familyFixture(name), 'config.json'), 'utf8')) as Record<string, unknown>;
  return JSON.stringify({ ...config, ...changes });
}

/** A copy of a fixture in a folder of its own, with keys of its config.json and tensors changed. */
export async function changedModel(
  name: string,
  changes: Changes,
  change: (tensors: Map<string, ArchiveTensor>) => void = () => undefined,
): Promise<string> {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'config.json'), changedConfig(name, changes));
  const tensors = await readSafetensors(join(familyFixture(name), 'model.safetensors'));
  change(tensors);
  await writeSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' });
  return folder;
}

/** LoRA targets of each fixture that has special ones: every linear module of a layer. */
export const ALL_MODULES = {
  bert: ['query', 'key', 'value', 'attention.output.dense', 'intermediate.dense', 'output.dense'],
  distilbert: ['q_lin', 'k_lin', 'v_lin', 'out_lin', 'lin1', 'lin2'],
  vit: ['query', 'key', 'value', 'attention.output.dense', 'intermediate.dense', 'output.dense'],
  llama: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
} as const;

export const SPEC: AdapterSpec = {
  rank: 2,
  loraAlpha: 16,
  loraDropout: 0.1,
  targetModules: ['q_proj', 'v_proj'],
  numLabels: 3,
  trainHead: false,
};

/** A backbone and a bank whose rows all hold one random state, B included, so that every gradient is alive. */
export async function openBank(
  folder: string,
  rows: number,
  spec: Partial<AdapterSpec> = {},
  options: LoadOptions = {},
): Promise<{ backbone: Backbone; bank: AdapterBank; dispose: () => void }> {
  const backbone = await Backbone.load(folder, options);
  const bank = new AdapterBank(backbone, { ...SPEC, ...spec }, rows);
  bank.initialise(0, 1n);
  const random = new Generator(5);
  const state = Float32Array.from({ length: bank.layout.size }, () => (random.random() - 0.5) * 0.3);
  for (let row = 0; row < rows; row++) bank.set(row, state);
  return {
    backbone,
    bank,
    dispose: () => {
      bank.dispose();
      backbone.dispose();
    },
  };
}

/** Random sequences; per token labels, of which the first third of each sequence does not count. */
export function languageExamples(seed: number, lengths: readonly number[], vocab = 48): PackedSequences {
  const random = new Generator(seed);
  const offsets = offsetsOf(lengths);
  const total = lengths.reduce((a, b) => a + b, 0);
  const ids = Int32Array.from({ length: total }, () => Math.floor(random.random() * vocab));
  const labels = ids.slice();
  lengths.forEach((length, s) => labels.fill(-100, offsets[s], offsets[s]! + Math.floor(length / 3)));
  return { ids, offsets, labels };
}

/** Random sequences with a class each. */
export function classExamples(seed: number, lengths: readonly number[], vocab = 48, classes = 3): PackedSequences {
  const { ids, offsets } = languageExamples(seed, lengths, vocab);
  const random = new Generator(seed + 1000);
  return { ids, offsets, labels: Int32Array.from(lengths, () => Math.floor(random.random() * classes)) };
}

/** Random images of the fixture's own size. */
export function imageExamples(seed: number, count: number, side = 16, classes = 3): PackedImages {
  const random = new Generator(seed);
  return {
    pixels: Uint8Array.from({ length: count * 3 * side * side }, () => Math.floor(random.random() * 256)),
    sizes: Int32Array.from({ length: 2 * count }, () => side),
    labels: Int32Array.from({ length: count }, () => Math.floor(random.random() * classes)),
    preprocess: plainPreprocess(side, side),
  };
}
