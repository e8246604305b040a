/** What `--resume` means for the configuration: where it comes from, and which folder it is of. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { ConfigSources } from '../config/index.js';
import { FltacError } from '../errors.js';
import { RUN_FILES } from '../run/folder.js';
import type { Resume } from '../run/resume.js';

/**
 * A folder is resumed by its own config.yaml, unless a file is given; other flags and overrides count as ever.
 *
 * @param value of --resume: absent, true where it has none, `auto`, or a folder
 * @throws FltacError USAGE for a folder without config.yaml, or another output folder besides
 */
export function resumeSources(
  sources: ConfigSources,
  value: string | true | undefined,
): { sources: ConfigSources; resume: Resume } {
  if (value === undefined) return { sources, resume: false };
  if (value === true || value === 'auto') return { sources, resume: value };
  const { file, flags = {}, overrides = [] } = sources;
  const own = path.join(value, RUN_FILES.config);
  if (flags.output_dir !== undefined || overrides.some((override) => /^\s*output_dir\s*=/.test(override))) {
    throw new FltacError('USAGE', `--resume ${value} names the output folder already: leave output_dir out`);
  }
  if (!existsSync(own)) {
    throw new FltacError(
      'USAGE',
      `${value} is not a run's folder: it has no ${RUN_FILES.config}. --resume takes the folder of a run, auto, or nothing`,
    );
  }
  return { sources: { ...sources, file: file ?? own, flags: { ...flags, output_dir: value } }, resume: true };
}
