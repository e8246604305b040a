/** Which device holds which part of a backbone: maps as people write them, and placements in words. */
import { FltacError } from '../errors.js';
import type { PartPlacement } from './types.js';

/** A device's name for each of `embedding`, `layers.N`, `layers.A-B` and `output`. */
export type DeviceMap = Readonly<Record<string, string>>;

/** What a device's name looks like; whether there is such a device is the engine's to say. */
export const DEVICE_NAME = /^(?:cpu|cuda|portable)(?::\d{1,4})?$/;

export const DEVICE_EXAMPLES = 'cpu, cpu:1, cuda:0 or portable';

const PARTS = 'embedding, layers.N, layers.A-B and output';
const LAYERS = /^layers\.(\d{1,6})(?:-(\d{1,6}))?$/;

/** The places that a name of a map stands for: 0 the embedding, 1 + l layer l, `last` the output part. */
interface Run {
  name: string;
  from: number;
  to: number;
}

/**
 * Everything that is wrong with a map; without `layers`, all that can be told without the model. Devices are checked for
 * their form only.
 */
export function deviceMapFaults(map: DeviceMap, layers?: number): string[] {
  const last = layers === undefined ? Infinity : layers + 1;
  const runs = Object.keys(map).flatMap((name) => runOf(name, last) ?? []);
  return [
    ...Object.entries(map).flatMap(([name, device]) => entryFaults(name, device)),
    ...overlaps(runs),
    ...(layers === undefined ? [] : [...beyond(runs, layers), ...leftOut(runs, layers)]),
  ];
}

/** The device of each part: the embedding, every layer, the output part. @throws USAGE naming every fault */
export function devicesOfMap(map: DeviceMap, layers: number): string[] {
  const faults = deviceMapFaults(map, layers);
  if (faults.length > 0) throw new FltacError('USAGE', deviceMapMessage(faults));
  const devices = new Array<string>(layers + 2);
  for (const [name, device] of Object.entries(map)) {
    const { from, to } = runOf(name, layers + 1)!;
    devices.fill(device, from, to + 1);
  }
  return devices;
}

/** One message for the faults of a map. */
export function deviceMapMessage(faults: readonly string[]): string {
  return `the device map does not fit: ${faults.join('; ')}`;
}

function runOf(name: string, last: number): Run | undefined {
  if (name === 'embedding') return { name, from: 0, to: 0 };
  if (name === 'output') return { name, from: last, to: last };
  const [, first, end] = LAYERS.exec(name) ?? [];
  return first === undefined ? undefined : { name, from: 1 + Number(first), to: 1 + Number(end ?? first) };
}

function entryFaults(name: string, device: string): string[] {
  const run = runOf(name, Infinity);
  const faults = run === undefined ? [`${JSON.stringify(name)} is no part, the parts are ${PARTS}`] : [];
  if (run !== undefined && run.to < run.from) faults.push(`${name} runs backwards`);
  if (!DEVICE_NAME.test(device)) {
    faults.push(`${name}: expected a device such as ${DEVICE_EXAMPLES}, found ${JSON.stringify(device)}`);
  }
  return faults;
}

function overlaps(runs: readonly Run[]): string[] {
  return runs.flatMap((a, i) =>
    runs.slice(i + 1).flatMap((b) => {
      const shared = Math.max(a.from, b.from);
      if (shared > Math.min(a.to, b.to) || !Number.isFinite(shared)) return [];
      return [`layer ${shared - 1} is named twice, by ${a.name} and ${b.name}`];
    }),
  );
}

function beyond(runs: readonly Run[], layers: number): string[] {
  return runs
    .filter(({ name, to }) => name !== 'output' && to > layers)
    .map(({ name }) => `${name} goes past the last layer, ${layers - 1}`);
}

/** The parts that no run covers, as names of a map. */
function leftOut(runs: readonly Run[], layers: number): string[] {
  const covered = new Array<boolean>(layers + 2).fill(false);
  for (const { name, from, to } of runs) covered.fill(true, from, 1 + (name === 'output' ? to : Math.min(to, layers)));
  const missing = [...covered.keys()].filter((part) => covered[part] === false);
  if (missing.length === 0) return [];
  const names = rangesOf(missing).flatMap(([from, to]) =>
    partNames(from, to, layers, (first, last) => (first === last ? `layers.${first}` : `layers.${first}-${last}`)),
  );
  return [`no device is given for ${names.join(', ')}`];
}

/** Rising numbers as runs of neighbours. */
function rangesOf(numbers: readonly number[]): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  for (const n of numbers) {
    const last = ranges.at(-1);
    if (last?.[1] === n - 1) last[1] = n;
    else ranges.push([n, n]);
  }
  return ranges;
}

/** The names of the parts `from` to `to`: at most the embedding, one run of layers, and the output part. */
function partNames(
  from: number,
  to: number,
  layers: number,
  layersName: (first: number, last: number) => string,
): string[] {
  const first = Math.max(from, 1) - 1;
  const last = Math.min(to, layers) - 1;
  return [
    ...(from === 0 ? ['embedding'] : []),
    ...(first > last ? [] : [layersName(first, last)]),
    ...(to === layers + 1 ? ['output'] : []),
  ];
}

/** Neighbouring parts on one device. */
export interface DeviceRun {
  /** e.g. "embedding + layers 0-15" */
  parts: string;
  device: string;
  bytes: number;
}

/** A placement as runs of neighbouring parts on one device. */
export function deviceRuns(placement: readonly PartPlacement[]): DeviceRun[] {
  const layers = placement.length - 2;
  const starts = [...placement.keys()].filter((i) => i === 0 || placement[i]!.device !== placement[i - 1]!.device);
  return starts.map((from, i) => {
    const to = (starts[i + 1] ?? placement.length) - 1;
    const names = partNames(from, to, layers, (first, last) =>
      first === last ? `layer ${first}` : `layers ${first}-${last}`,
    );
    const bytes = placement.slice(from, to + 1).reduce((sum, part) => sum + part.bytes, 0);
    return { parts: names.join(' + '), device: placement[from]!.device, bytes };
  });
}

/** e.g. "embedding + layers 0-15 on cuda:0 (6.4 GiB), layers 16-31 + output on cuda:1 (6.5 GiB)" */
export function placementText(placement: readonly PartPlacement[]): string {
  return deviceRuns(placement)
    .map(({ parts, device, bytes }) => `${parts} on ${device} (${bytesText(bytes)})`)
    .join(', ');
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size for people: `512 bytes`, `6.4 GiB`. */
export function bytesText(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${UNITS[power]!}`;
}
