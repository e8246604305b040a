/** A backbone's `config.json` without its weights. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { BUNDLED_MODEL } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { quickstartFolder } from '../data/bundled.js';
import { assertShallow } from '../data/json-depth.js';
import { hubSettings } from '../data/hub/settings.js';
import { withSnapshot } from '../data/hub/snapshot.js';
import { FltacError } from '../errors.js';
import type { Log } from '../run/log.js';
import { presetShape } from './presets.js';

export interface ModelConfig {
  /** the JSON text */
  text: string;
  /** where it comes from, for messages */
  source: string;
}

/**
 * Of the bundled model, a local folder, the built-in shapes of well-known models, or the Hub (fetching this file
 * alone). @throws NETWORK, IO, FORMAT, USAGE for a name that is none of these
 */
export async function readModelConfig(
  config: RunConfig,
  context: { log: Log; signal: AbortSignal },
): Promise<ModelConfig> {
  const name = config.modelName;
  const bundled = name === BUNDLED_MODEL;
  const path = join(bundled ? join(quickstartFolder(), 'model') : resolve(name), 'config.json');
  const local = await readIfThere(path);
  if (local !== undefined) return shallow(local, path);
  if (bundled) throw new FltacError('IO', `${path} is missing: install fltac again`);
  const preset = presetShape(name);
  if (preset) return { text: JSON.stringify(preset), source: `the built-in shapes of ${name}` };
  const repo = { type: 'model', id: name } as const;
  return withSnapshot(repo, config.modelRevision, hubSettings(config.cacheDir), context, async (snapshot) => {
    const listed = await snapshot.list();
    if (!listed.includes('config.json')) {
      const what = `model ${name} at revision ${config.modelRevision}`;
      throw new FltacError('NETWORK', `${what} has no config.json: fltac needs a transformers model`);
    }
    await snapshot.fetch(['config.json']);
    const file = join(snapshot.folder, 'config.json');
    return shallow(await readFile(file, 'utf8'), file);
  });
}

/** @throws FORMAT */
function shallow(text: string, source: string): ModelConfig {
  assertShallow(text, source);
  return { text, source };
}

/** @throws IO for a file that is there but cannot be read */
async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new FltacError('IO', `${path} cannot be read: ${message}`, { cause });
  }
}
