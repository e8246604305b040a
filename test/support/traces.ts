/** All that training and evaluating one model gives, to be compared bit by bit between ways of computing it. */
import { evaluate, gradient, train } from '../../src/engine/index.js';
import type { AdapterSpec, ArchiveTensor, Examples, LoadOptions, TrainJob } from '../../src/engine/index.js';
import { ALL_MODULES, changedModel, classExamples, imageExamples, languageExamples, openBank } from './models.js';
import { sharedPath } from './shared.js';

type TensorChange = (tensors: Map<string, ArchiveTensor>) => void;

export interface TracedModel {
  name: string;
  /** a folder of its own, its tensors changed, or one of shared/ */
  folder: (change?: TensorChange) => Promise<string>;
  layers: number;
  spec: Partial<AdapterSpec>;
  examples: (seed: number) => Examples;
}

/** The fixtures' families with every dropout on; two layers each. */
export const SMALL_MODELS: readonly TracedModel[] = [
  {
    name: 'roberta',
    folder: (change) =>
      changedModel('roberta', { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2 }, change),
    layers: 2,
    spec: { targetModules: ALL_MODULES.bert, trainHead: true },
    examples: (seed) => classExamples(seed, [3, 17, 1, 8]),
  },
  {
    name: 'vit, frozen head',
    folder: (change) => changedModel('vit', { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2 }, change),
    layers: 2,
    spec: { targetModules: ALL_MODULES.vit },
    examples: (seed) => imageExamples(seed, 4),
  },
  {
    name: 'llama, grouped queries',
    folder: (change) => changedModel('llama3', { attention_dropout: 0.2, max_position_embeddings: 128 }, change),
    layers: 2,
    spec: { targetModules: ALL_MODULES.llama },
    examples: (seed) => languageExamples(seed, [4, 100, 1, 23]),
  },
  {
    name: 'qwen2, tied head, LoRA on the last layer only',
    folder: (change) => changedModel('qwen2', { attention_dropout: 0.2 }, change),
    layers: 2,
    spec: { targetModules: ['layers.1.self_attn.q_proj', 'layers.1.mlp.up_proj'] },
    examples: (seed) => languageExamples(seed, [4, 20, 3, 9]),
  },
];

const shared = (name: string) => () => Promise.resolve(sharedPath(`hub/models/fltac-test/${name}`));

/** The models of shared/, three layers each. */
export const SHARED_MODELS: readonly TracedModel[] = [
  {
    name: 'tiny-bert',
    folder: shared('tiny-bert'),
    layers: 3,
    spec: { targetModules: ['query', 'value'], trainHead: true },
    examples: (seed) => classExamples(seed, [12, 40, 5, 8], 2000),
  },
  {
    name: 'tiny-vit',
    folder: shared('tiny-vit'),
    layers: 3,
    spec: { targetModules: ['query', 'value'] },
    examples: (seed) => imageExamples(seed, 2, 224),
  },
  {
    name: 'tiny-llama-gqa',
    folder: shared('tiny-llama-gqa'),
    layers: 3,
    spec: { targetModules: ['q_proj', 'v_proj'] },
    examples: (seed) => languageExamples(seed, [12, 90, 5, 8], 2000),
  },
];

/** Losses, a gradient, two adapters after three steps as a cohort with dropout, and their evaluation. */
export interface Trace {
  losses: Float64Array[];
  gradient: Float32Array;
  adapters: Float32Array[];
  logits: Float32Array[];
  exampleLosses: Float64Array[];
}

export async function traceOf(
  model: TracedModel,
  load: LoadOptions = {},
  { checkpointing = false }: { checkpointing?: boolean } = {},
): Promise<Trace> {
  const { bank, dispose } = await openBank(await model.folder(), 2, model.spec, load);
  try {
    const jobs = [0, 1].map((row): TrainJob => {
      const examples = model.examples(row + 1);
      const count = 'sizes' in examples ? examples.labels.length : examples.offsets.length - 1;
      return { row, examples, batches: Int32Array.of(0, count >> 1, count), stream: BigInt(row + 7) };
    });
    const first = await gradient(bank, jobs[0]!, { dropout: true, checkpointing });
    const trained = await train(bank, jobs, { lr: 5e-3, cohort: 2, checkpointing });
    const evaluated = await evaluate(bank, jobs, { targetLogits: true });
    return {
      losses: trained.map(({ losses }) => losses),
      gradient: first.gradient,
      adapters: [bank.get(0), bank.get(1)],
      logits: evaluated.map(({ logits }) => logits),
      exampleLosses: evaluated.map(({ exampleLosses }) => exampleLosses),
    };
  } finally {
    dispose();
  }
}
