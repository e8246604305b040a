/** The common initial adapter: drawn from the seed, or read from a file. */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { AdapterLayout, AdapterSpec, ArchiveTensor } from '../engine/types.js';
import { FltacError, messageOf } from '../errors.js';
import type { Bank, EngineFace } from './engine.js';
import { streamKey } from './streams.js';

/** Draws row 0 of a run's bank, and its frozen head where the head is not trained. */
export function startRow(bank: Bank, seed: number): void {
  bank.initialise(0, streamKey(seed, 'initial'));
}

/**
 * Reads an adapter as one flat vector of layout.size values.
 *
 * @param source a .safetensors file with PEFT's names, with or without `.default.` and `.modules_to_save.` in them, or
 *   a PEFT directory; a directory's adapter_config.json must agree with `spec`
 * @throws FltacError IO when it cannot be read; SHAPE listing every name and shape that differs from the layout;
 *   USAGE when the directory's rank or alpha differs, or it is no plain LoRA
 */
export async function loadInitialAdapter(
  face: Pick<EngineFace, 'readSafetensors'>,
  source: string,
  layout: AdapterLayout,
  spec: AdapterSpec,
): Promise<Float32Array> {
  const info = await stat(source).catch((cause: unknown) => {
    throw new FltacError('IO', `initial_adapter ${source} cannot be read: ${messageOf(cause)}`, { cause });
  });
  let file = source;
  if (info.isDirectory()) {
    await checkPeftConfig(source, spec);
    file = path.join(source, 'adapter_model.safetensors');
  }
  return flattenAdapter(await face.readSafetensors(file), layout, file);
}

/**
 * Lays named tensors out as one flat adapter.
 *
 * @param source where the tensors are from, for the error
 * @throws FltacError SHAPE listing every difference from the layout
 */
export function flattenAdapter(
  tensors: ReadonlyMap<string, ArchiveTensor>,
  layout: AdapterLayout,
  source: string,
): Float32Array {
  const given = new Map([...tensors].map(([name, tensor]) => [plainName(name), { name, tensor }]));
  const flat = new Float32Array(layout.size);
  const faults: string[] = [];
  for (const { name, also, shape, offset } of layout.tensors) {
    const key = [name, also ?? name].map(plainName).find((spelt) => given.has(spelt)) ?? name;
    const found = given.get(key);
    given.delete(key);
    if (found === undefined) faults.push(`missing: ${name} [${shape.join(', ')}]`);
    else if (found.tensor.shape.join() !== shape.join()) {
      faults.push(`${found.name}: shape [${found.tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
    } else flat.set(found.tensor.data, offset);
  }
  for (const { name } of given.values()) faults.push(`not in the adapter: ${name}`);
  if (faults.length === 0) return flat;
  throw new FltacError(
    'SHAPE',
    `${source} does not hold an adapter of this run (check model_name, lora_rank, target_modules, train_head):\n` +
      faults.map((fault) => `  ${fault}`).join('\n'),
  );
}

/** PEFT's file names: `named_parameters` names without the adapter's name and the wrapper of a trained head. */
export function plainName(name: string): string {
  return name.replace('.modules_to_save.', '.').replace('.default.', '.');
}

const isFalse = (value: unknown) => value === undefined || value === null || value === false;
const isEmpty = (value: unknown) => isFalse(value) || Object.keys(value).length === 0;

/** Options of PEFT that change what a plain adapter's tensors mean, most of them without another name or shape. */
const OTHER_ARITHMETIC: readonly { key: string; plain: (value: unknown) => boolean }[] = [
  { key: 'use_rslora', plain: isFalse },
  { key: 'use_dora', plain: isFalse },
  { key: 'fan_in_fan_out', plain: isFalse },
  { key: 'rank_pattern', plain: isEmpty },
  { key: 'alpha_pattern', plain: isEmpty },
  { key: 'bias', plain: (value) => isFalse(value) || value === 'none' },
  { key: 'peft_type', plain: (value) => value === undefined || value === 'LORA' },
];

async function checkPeftConfig(folder: string, spec: AdapterSpec): Promise<void> {
  const file = path.join(folder, 'adapter_config.json');
  let config: unknown;
  try {
    config = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
  const { r, lora_alpha, ...rest } = config as { r?: unknown; lora_alpha?: unknown } & Record<string, unknown>;
  const faults = [
    ...OTHER_ARITHMETIC.filter(({ key, plain }) => !plain(rest[key])).map(
      ({ key }) => `${key} is ${JSON.stringify(rest[key])} there, which fltac does not know`,
    ),
    ...(r === spec.rank ? [] : [`rank is ${String(r)} there, lora_rank ${spec.rank} in this run`]),
    ...(lora_alpha === spec.loraAlpha
      ? []
      : [`alpha is ${String(lora_alpha)} there, lora_alpha ${spec.loraAlpha} in this run`]),
  ];
  if (faults.length > 0) throw new FltacError('USAGE', `${file} does not fit: ${faults.join('; ')}`);
}
