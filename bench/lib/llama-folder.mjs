// A LLaMA-shaped model folder with made-up weights: config.json and sharded safetensors. For measuring speed and memory
// and for comparing implementations; such a model has learned nothing.
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Generator } from '../../dist/numpy/index.js';

/** Dimensions of published models. */
export const SHAPES = {
  'tinyllama-1.1b': {
    hidden: 2048,
    layers: 22,
    heads: 32,
    kvHeads: 4,
    intermediate: 5632,
    vocab: 32000,
    positions: 2048,
  },
  'llama-7b': { hidden: 4096, layers: 32, heads: 32, kvHeads: 32, intermediate: 11008, vocab: 32000, positions: 2048 },
};

const SHARD_BYTES = 2 ** 29;
const DEVIATION = 0.02;

/** config.json as transformers writes it. */
export function llamaConfig(shape, dtype) {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    intermediate_size: shape.intermediate,
    vocab_size: shape.vocab,
    max_position_embeddings: shape.positions,
    hidden_act: 'silu',
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    initializer_range: DEVIATION,
    attention_bias: false,
    attention_dropout: 0,
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: dtype,
  };
}

/** Names and shapes of every tensor, in the order of the layers. */
export function llamaTensors({ hidden, layers, heads, kvHeads, intermediate, vocab }) {
  const kv = (hidden / heads) * kvHeads;
  const layer = (l) =>
    [
      ['input_layernorm', [hidden]],
      ['self_attn.q_proj', [hidden, hidden]],
      ['self_attn.k_proj', [kv, hidden]],
      ['self_attn.v_proj', [kv, hidden]],
      ['self_attn.o_proj', [hidden, hidden]],
      ['post_attention_layernorm', [hidden]],
      ['mlp.gate_proj', [intermediate, hidden]],
      ['mlp.up_proj', [intermediate, hidden]],
      ['mlp.down_proj', [hidden, intermediate]],
    ].map(([name, shape]) => [`model.layers.${l}.${name}.weight`, shape]);
  return [
    ['model.embed_tokens.weight', [vocab, hidden]],
    ...Array.from({ length: layers }, (_, l) => layer(l)).flat(),
    ['model.norm.weight', [hidden]],
    ['lm_head.weight', [vocab, hidden]],
  ];
}

const count = (shape) => shape.reduce((a, b) => a * b, 1);

/** Makes the folder unless it holds this model already. `dtype`: "bfloat16" or "float32". */
export function makeLlamaFolder(folder, shape, dtype = 'bfloat16') {
  const config = JSON.stringify(llamaConfig(shape, dtype), null, 2);
  const index = join(folder, 'model.safetensors.index.json');
  if (existsSync(index) && readFileSync(join(folder, 'config.json'), 'utf8') === config) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), config);
  const bytes = dtype === 'bfloat16' ? 2 : 4;
  const shards = cut(llamaTensors(shape), bytes);
  const fill = weights(dtype);
  const map = {};
  shards.forEach((tensors, i) => {
    const name = `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
    for (const [tensor] of tensors) map[tensor] = name;
    writeShard(join(folder, name), tensors, dtype, bytes, fill);
  });
  writeFileSync(index, JSON.stringify({ metadata: {}, weight_map: map }));
}

/** Tensors in shards of about SHARD_BYTES, as the Hub's models are cut. */
function cut(tensors, bytes) {
  const shards = [[]];
  let size = 0;
  for (const tensor of tensors) {
    const own = bytes * count(tensor[1]);
    if (size > 0 && size + own > SHARD_BYTES) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1).push(tensor);
    size += own;
  }
  return shards;
}

/** Normal values, drawn once and laid end to end from a new place for each tensor; norms are one. */
function weights(dtype) {
  const random = new Generator(0);
  const block = Float32Array.from({ length: 1_000_003 }, () => DEVIATION * random.standardNormal());
  const as = (values) => (dtype === 'bfloat16' ? toBfloat16(values) : values);
  const [normal, one] = [as(block), as(new Float32Array(65_536).fill(1))];
  let at = 0;
  return (shape) => {
    if (shape.length === 1) return one.subarray(0, shape[0]);
    const values = new normal.constructor(count(shape));
    for (let done = 0; done < values.length;) {
      const part = normal.subarray(at, at + values.length - done);
      values.set(part, done);
      done += part.length;
      at = (at + part.length) % normal.length;
    }
    at = (at + 7_919) % normal.length;
    return values;
  };
}

/** Rounded to nearest, ties to even. */
function toBfloat16(values) {
  const bits = new Uint32Array(values.buffer);
  return Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
}

function writeShard(path, tensors, dtype, bytes, fill) {
  let offset = 0;
  const entries = tensors.map(([name, shape]) => {
    const begin = offset;
    offset += bytes * count(shape);
    return [name, { dtype: dtype === 'bfloat16' ? 'BF16' : 'F32', shape, data_offsets: [begin, offset] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = openSync(path, 'w');
  try {
    for (const buffer of [length, header]) writeFileSync(file, buffer);
    for (const [, shape] of tensors) {
      const values = fill(shape);
      writeFileSync(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  } finally {
    closeSync(file);
  }
}
