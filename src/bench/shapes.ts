/** Model folders of published dimensions with made-up weights, to measure speed without a download. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeArchitecture, writeSafetensors } from '../engine/index.js';
import type { ArchiveTensor, BackboneTensor } from '../engine/index.js';
import type { BertShape } from './model-shapes.js';

const POSITIONS = 512;
/** BERT's initializer_range */
const DEVIATION = 0.02;

/**
 * Makes `folder` a BERT with random weights, which has learned nothing, and the tokenizer and vocabulary of the model in
 * `tokenizerFolder`.
 */
export async function makeShapedModel(folder: string, shape: BertShape, tokenizerFolder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await copyFile(join(tokenizerFolder, 'tokenizer.json'), join(folder, 'tokenizer.json'));
  const source = JSON.parse(await readFile(join(tokenizerFolder, 'config.json'), 'utf8')) as Record<string, unknown>;
  const config = JSON.stringify(bertConfig(shape, source), null, 2);
  await writeFile(join(folder, 'config.json'), config);
  const normal = normalValues(DEVIATION);
  const tensors = describeArchitecture(config).tensors.map((tensor) => [tensor.name, made(tensor, normal)] as const);
  await writeSafetensors(join(folder, 'model.safetensors'), new Map(tensors), { format: 'pt' });
}

function bertConfig({ hidden, layers, heads, intermediate }: BertShape, source: Readonly<Record<string, unknown>>) {
  return {
    architectures: ['BertModel'],
    model_type: 'bert',
    vocab_size: source['vocab_size'],
    pad_token_id: source['pad_token_id'] ?? 0,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: intermediate,
    max_position_embeddings: POSITIONS,
    type_vocab_size: 2,
    hidden_act: 'gelu',
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    layer_norm_eps: 1e-12,
    initializer_range: DEVIATION,
  };
}

/** Matrices are normal, norms' weights one, and biases zero, as a new BERT has them. */
function made({ name, shape }: BackboneTensor, normal: (count: number) => Float32Array): ArchiveTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape.length > 1) return { shape, data: normal(count) };
  return { shape, data: new Float32Array(count).fill(name.endsWith('.weight') ? 1 : 0) };
}

/** Normal values by a 32-bit xorshift and Box and Muller's transform: good enough here, and fast in JavaScript. */
function normalValues(deviation: number): (count: number) => Float32Array {
  let state = 0x9e3779b9;
  const uniform = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  return (count) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i += 2) {
      const radius = deviation * Math.sqrt(-2 * Math.log(uniform()));
      const angle = 2 * Math.PI * uniform();
      values[i] = radius * Math.cos(angle);
      if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
    }
    return values;
  };
}
