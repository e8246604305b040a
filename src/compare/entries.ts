/** What `fltac compare` compares: methods by name, each with the config keys that set it apart from the others. */
import path from 'node:path';
import { loadConfig, type ConfigKey, type ConfigSources, type LoadedConfig, type RunConfig } from '../config/index.js';
import { isConfigKey } from '../config/schema.js';
import { FltacError } from '../errors.js';

/** One row of the comparison: a method and overrides of the common configuration. */
export interface CompareEntry {
  /** as the user wrote it, e.g. `fedit:fedit_steps=full`; names the row */
  readonly label: string;
  /** `key=value` texts, the method's first */
  readonly overrides: readonly string[];
}

/** The published comparison, FedIT both as published and with the steps of the others. */
export const DEFAULT_ENTRIES = 'none,local,fedit,fedit:fedit_steps=full,fltac,oracle,centralized';

export const DEFAULT_SEEDS = '42,43,44';

/** Keys that the comparison sets itself. */
const OWN_KEYS: readonly ConfigKey[] = ['method', 'baseline_method', 'seed', 'output_dir'];

/**
 * Reads `fltac,fedit:fedit_steps=full,fltac:upload_format=int8`.
 *
 * @throws FltacError USAGE for an entry that says nothing or sets what the comparison sets, and for equal entries
 */
export function parseEntries(text: string): CompareEntry[] {
  const entries = text.split(',').map((part): CompareEntry => {
    const label = part.trim();
    const [method = '', ...overrides] = label.split(':').map((piece) => piece.trim());
    const strange = overrides.find((override) => {
      const key = override.split('=')[0]!.trim();
      return !override.includes('=') || (isConfigKey(key) && OWN_KEYS.includes(key));
    });
    if (method === '' || strange !== undefined) {
      throw new FltacError(
        'USAGE',
        `--methods: expected method or method:key=value, found "${label}"` +
          (strange?.includes('=') === true ? `: compare sets ${strange.split('=')[0]!} itself` : ''),
      );
    }
    return { label, overrides: [`method=${method}`, ...overrides] };
  });
  const folders = entries.map(({ label }) => folderName(label));
  const twice = entries.find((_, i) => folders.indexOf(folders[i]!) < i);
  if (twice === undefined) return entries;
  throw new FltacError('USAGE', `--methods: ${twice.label} is there twice`);
}

/** @throws FltacError USAGE for anything but different whole numbers from 0 up */
export function parseSeeds(text: string): number[] {
  const seeds = text.split(',').map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : NaN));
  if (seeds.every(Number.isSafeInteger) && new Set(seeds).size === seeds.length) return seeds;
  throw new FltacError('USAGE', `--seeds: expected different whole numbers such as 42,43,44, found "${text}"`);
}

/** The name of an entry's folder: `fedit:fedit_steps=full` lies in `fedit+fedit_steps=full`. */
export function folderName(label: string): string {
  return label.replaceAll(':', '+').replace(/[^\w+=.-]/g, '_');
}

/** One run of the comparison. */
export interface PlannedRun {
  readonly label: string;
  readonly seed: number;
  readonly config: RunConfig;
}

export interface Planned {
  readonly runs: readonly PlannedRun[];
  /** settings that have no effect, in one entry or in all, for the log */
  readonly warnings: readonly string[];
}

/**
 * The configurations of all runs, seed by seed. An entry's overrides win over everything else.
 *
 * @param folder of all runs; default results/compare_<scenario>
 * @throws FltacError USAGE naming every fault of the first configuration that has some, or an entry of other tasks
 */
export function planRuns(
  sources: ConfigSources,
  entries: readonly CompareEntry[],
  seeds: readonly number[],
  folder?: string,
): Planned {
  const common = loadConfig(sources);
  const root = folder ?? path.join('results', `compare_${common.config.scenario}`);
  const warnings = new Set(ownKeysGiven(common));
  const runs = seeds.flatMap((seed) =>
    entries.map(({ label, overrides }): PlannedRun => {
      const outputDir = path.join(root, folderName(label), `seed_${seed}`);
      const written = overrides.map((text) => ({ text, origin: `--methods ${label}: ${text}` }));
      const fixed = ['baseline_method=none', `seed=${seed}`].map((text) => ({ text, origin: text }));
      const loaded = loadConfig(withOverrides(sources, [...written, ...fixed], outputDir));
      // What is given for all entries matters to some of them only; what an entry sets itself must matter to it.
      loaded.warnings
        .filter((warning) => written.some(({ origin }) => warning.startsWith(`${origin} `)))
        .forEach((warning) => warnings.add(warning));
      return { label, seed, config: loaded.config };
    }),
  );
  assertSameTasks(runs);
  return { runs, warnings: [...warnings] };
}

/** Configuration files have a method and a seed of their own; what names a folder, or is given by hand, is wanted. */
function ownKeysGiven({ given }: LoadedConfig): string[] {
  return OWN_KEYS.flatMap((key) => {
    const origin = given.get(key);
    if (origin === undefined || (key !== 'output_dir' && !origin.startsWith('--override'))) return [];
    return [`${origin} has no effect: compare sets ${key} itself, by --methods, --seeds and --output-dir`];
  });
}

/** Scores stand in one table by task. */
function assertSameTasks(runs: readonly PlannedRun[]): void {
  const textOf = ({ config }: PlannedRun) => `${config.tasks.join(', ')} of scenario ${config.scenario}`;
  const [first] = runs;
  const other = runs.find((run) => textOf(run) !== textOf(first!));
  if (other === undefined) return;
  throw new FltacError(
    'USAGE',
    `--methods: expected one scenario and the same tasks in every entry, found ${first!.label} with ${textOf(first!)} ` +
      `and ${other.label} with ${textOf(other)}: set them for all by --scenario and --override tasks=…`,
  );
}

function withOverrides(
  sources: ConfigSources,
  ownOverrides: NonNullable<ConfigSources['ownOverrides']>,
  outputDir: string,
): ConfigSources {
  const set = new Set(ownOverrides.map(({ text }) => text.split('=')[0]!.trim()));
  const flags = Object.entries(sources.flags ?? {}).filter(([key]) => !set.has(key));
  return {
    ...sources,
    ownOverrides,
    flags: { ...Object.fromEntries(flags), output_dir: outputDir },
  };
}
