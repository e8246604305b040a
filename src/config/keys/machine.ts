/** Config keys: machine and folders. */
import { cacheFromEnvironment } from '../../data/hub/settings.js';
import { DEVICE_NAME } from '../../engine/placement.js';
import { boolean, integer, integerOrAuto, matching, oneOf, optionalMapping, text } from '../kinds.js';
import { FLAG, FREE_FLAG, FREE_KEY, KEY, derived, rowsOf } from '../row.js';

const key = rowsOf('machine');

export const MACHINE_KEYS = {
  output_dir: key({
    ...FREE_FLAG,
    kind: text('a folder', 'folder'),
    default: derived('results/<scenario>_<method>', ({ scenario, method }) => `results/${scenario}_${method}`),
    meaning: "the run's folder",
    alsoCalled: ['output', 'out', 'out_dir'],
  }),
  cache_dir: key({
    ...FREE_FLAG,
    kind: text('a folder', 'folder'),
    default: derived(
      './hf_cache, or what HF_HUB_CACHE or HF_HOME names',
      ({ env }) => cacheFromEnvironment(env) ?? './hf_cache',
    ),
    meaning: 'where downloaded models and data are kept, in the layout of the Hugging Face cache',
  }),
  token_cache: key({
    ...FREE_KEY,
    kind: boolean(),
    default: true,
    meaning:
      'whether tokenised texts are kept in cache_dir (fltac-tokens/), so that the next start need not tokenise them',
  }),
  save_every: key({
    ...FREE_KEY,
    kind: integer({ min: 0 }),
    default: derived('1; with full, whose files are whole models, 0', ({ method }) => (method === 'full' ? 0 : 1)),
    meaning: 'rounds between two adapters_round_<t>.pt; the last round is always saved, and with 0 it alone',
  }),
  save_submissions: key({
    ...FREE_KEY,
    kind: boolean(),
    default: false,
    meaning:
      'whether every round also leaves its adapters as clients sent them (submissions_round_<t>.safetensors), from which ' +
      'fltac verify computes the averages anew',
  }),
  cohort: key({
    ...FREE_KEY,
    kind: integerOrAuto({ min: 1 }),
    default: 'auto',
    meaning: 'most adapters trained in one pass over the backbone; 1 trains one after another',
  }),
  threads: key({
    ...FREE_KEY,
    kind: integer({ min: 0, max: 4096 }),
    default: 0,
    meaning: 'CPU threads; 0 takes OMP_NUM_THREADS, or else all cores',
    alsoCalled: ['num_threads', 'n_threads'],
  }),
  device: key({
    ...FREE_FLAG,
    kind: matching(
      'auto, cpu, cuda (the first CUDA device) or a device such as cuda:1',
      new RegExp(`^auto$|${DEVICE_NAME.source}`),
      ['auto', 'cpu', 'cuda'],
    ),
    default: 'auto',
    meaning:
      'where the backbone computes; auto takes CUDA devices by their free memory, and the CPU where there are none',
  }),
  device_map: key({
    ...FREE_KEY,
    kind: optionalMapping('a mapping of the parts embedding, layers.N, layers.A-B and output to devices'),
    default: null,
    meaning: 'in place of device, a device for each part of the backbone (docs/devices.md)',
    alsoCalled: ['placement', 'devices'],
  }),
  dtype: key({
    ...FLAG,
    kind: oneOf(['auto', 'float32', 'bfloat16', 'float16']),
    default: 'auto',
    meaning:
      "data type of the backbone's weights; auto is float32 unless the files are of half precision and the device " +
      'computes with it (on a CPU with bfloat16 instructions a short measurement decides; a resumed run keeps its type)',
    alsoCalled: ['precision', 'torch_dtype'],
  }),
  tf32: key({
    ...KEY,
    kind: boolean(),
    default: false,
    meaning:
      "whether CUDA devices may round the factors of float32 products with the backbone's weights to TF32: faster, less " +
      'exact; no effect on the CPU or on other types',
    alsoCalled: ['allow_tf32'],
  }),
  gradient_checkpointing: key({
    ...FREE_KEY,
    kind: boolean(),
    default: false,
    meaning: 'whether layers are computed again for the backward pass instead of kept: less memory, the same results',
    alsoCalled: ['checkpointing'],
  }),
};
