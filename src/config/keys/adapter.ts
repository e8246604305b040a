/** Config keys: adapters. */
import { boolean, integer, names, number, optionalText } from '../kinds.js';
import { FLAG, KEY, rowsOf } from '../row.js';

const key = rowsOf('adapter');

export const ADAPTER_KEYS = {
  lora_rank: key({
    ...FLAG,
    kind: integer({ min: 1, max: 65_536 }),
    default: 4,
    meaning: 'rank r of the LoRA factors',
    alsoCalled: ['rank', 'r', 'lora_r'],
  }),
  lora_alpha: key({
    ...FLAG,
    kind: number({ above: 0 }),
    default: 16,
    meaning: 'LoRA alpha: the product of the factors is scaled by lora_alpha / lora_rank',
  }),
  lora_dropout: key({
    ...FLAG,
    kind: number({ min: 0, below: 1 }),
    default: 0.05,
    meaning: "probability of dropping an input value of LoRA's branch while training",
    alsoCalled: ['dropout'],
  }),
  target_modules: key({
    ...KEY,
    kind: names("the backbone's linear modules, by the last part of their names"),
    default: ['query', 'value'],
    meaning: 'linear modules that get LoRA',
    alsoCalled: ['lora_targets', 'lora_target_modules'],
  }),
  train_head: key({
    ...KEY,
    kind: boolean(),
    default: true,
    meaning: 'whether the classification head is part of the adapter: trained, clustered, averaged and uploaded',
  }),
  initial_adapter: key({
    ...KEY,
    kind: optionalText('a .safetensors file or a PEFT directory', 'path'),
    default: null,
    meaning: 'common initial state of all adapters; without one it is drawn from the seed',
  }),
};
