/** Finds the backbone: the bundled model, a local folder, or a model on the Hub. */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { BUNDLED_MODEL, scenarioRow } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError, messageOf } from '../errors.js';
import { quickstartFolder } from './bundled.js';
import { fileSize } from './hub/cache.js';
import { assertShallow } from './json-depth.js';
import { isRepoId, type HubRepo } from './hub/names.js';
import { hubSettings } from './hub/settings.js';
import { withSnapshot, type Snapshot } from './hub/snapshot.js';
import type { ConfigCheck, DataContext, ResolvedModel } from './scenario.js';

const CONFIG = 'config.json';
/** Besides config.json and the weights, by what the model reads. */
const FILES = {
  tokens: { needed: ['tokenizer.json'], welcome: ['tokenizer_config.json', 'generation_config.json', 'vocab.txt'] },
  images: { needed: [], welcome: ['preprocessor_config.json'] },
} as const;
const WEIGHTS = 'model.safetensors';
const WEIGHTS_INDEX = 'model.safetensors.index.json';
const OTHER_WEIGHTS = /(^|\/)(pytorch_model.*\.bin|tf_model.*\.h5|flax_model.*\.msgpack)$/;

interface WantedFiles {
  needed: readonly string[];
  /** taken where they are there */
  welcome: readonly string[];
  check: ConfigCheck;
}

/** See resolveModel in scenario.ts. */
export async function resolveModel(
  config: RunConfig,
  context: DataContext,
  check: ConfigCheck = () => undefined,
): Promise<ResolvedModel> {
  const name = config.modelName;
  const { needed, welcome } = FILES[scenarioRow(config).input];
  const wanted: WantedFiles = { needed, welcome, check };
  if (name === BUNDLED_MODEL) return checkLocal(join(quickstartFolder(), 'model'), name, wanted);
  const folder = resolve(name);
  const isFolder = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const isPath = isAbsolute(name) || /^\.{0,2}[/\\]|^\.{1,2}$/.test(name) || !isRepoId(name);
  // A folder that only happens to be called like a Hub id is not meant, unless it holds a model.
  if (isPath || (isFolder && (await fileSize(join(folder, 'config.json'))) !== undefined)) {
    if (!isFolder) {
      throw new FltacError(
        'USAGE',
        `model_name "${name}" is neither a folder that exists nor a Hub id such as org/name`,
      );
    }
    return checkLocal(folder, name, wanted);
  }
  return downloadModel({ type: 'model', id: name }, config, context, wanted);
}

/** config.json is looked at before anything else, so that a model of the wrong kind is called that. */
async function checkLocal(folder: string, id: string, { needed, check }: WantedFiles): Promise<ResolvedModel> {
  const require = async (name: string): Promise<void> => {
    if ((await fileSize(join(folder, name))) !== undefined) return;
    const all = [CONFIG, ...needed].join(', ');
    throw new FltacError('IO', `${folder} is no model folder: it lacks ${name} (needed: ${all} and ${WEIGHTS})`);
  };
  await require(CONFIG);
  await checkConfig(folder, check);
  for (const name of needed) await require(name);
  const weights = await Promise.all([WEIGHTS, WEIGHTS_INDEX].map((name) => fileSize(join(folder, name))));
  if (weights.every((size) => size === undefined)) throw noSafetensors(folder, '');
  if (weights[0] === undefined) await readShards(join(folder, WEIGHTS_INDEX));
  return { folder, id, revision: 'local' };
}

async function downloadModel(
  repo: HubRepo,
  config: RunConfig,
  context: DataContext,
  { needed, welcome, check }: WantedFiles,
): Promise<ResolvedModel> {
  const settings = hubSettings(config.cacheDir);
  return withSnapshot(repo, config.modelRevision, settings, context, async (snapshot) => {
    const listed = await snapshot.list();
    const require = (names: readonly string[]): void => {
      const missing = names.filter((name) => !listed.includes(name));
      if (missing.length === 0) return;
      throw new FltacError(
        'NETWORK',
        `model ${repo.id} at revision ${config.modelRevision} lacks ${missing.join(' and ')} (it has: ${some(listed)}); ` +
          `fltac needs a transformers model${needed.length > 0 ? ' with a fast tokenizer' : ''}`,
      );
    };
    require([CONFIG]);
    await snapshot.fetch([CONFIG]);
    await checkConfig(snapshot.folder, check);
    require(needed);
    const weights = await weightFiles(snapshot, listed);
    await snapshot.fetch([...needed, ...welcome.filter((name) => listed.includes(name)), ...weights]);
    await snapshot.remember();
    return { folder: snapshot.folder, id: repo.id, revision: snapshot.commit };
  });
}

async function checkConfig(folder: string, check: ConfigCheck): Promise<void> {
  const path = join(folder, CONFIG);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${path} cannot be read (${messageOf(cause)})`, { cause });
  });
  assertShallow(text, path);
  check(text, path);
}

/** The files that hold the weights; the index of a sharded model is fetched to learn its shards. */
async function weightFiles(snapshot: Snapshot, listed: readonly string[]): Promise<string[]> {
  if (listed.includes(WEIGHTS)) return [WEIGHTS];
  if (!listed.includes(WEIGHTS_INDEX)) {
    throw noSafetensors(`model ${snapshot.repo.id}`, listed.filter((name) => OTHER_WEIGHTS.test(name)).join(', '));
  }
  await snapshot.fetch([WEIGHTS_INDEX]);
  const shards = await readShards(join(snapshot.folder, WEIGHTS_INDEX));
  const missing = shards.filter((name) => !listed.includes(name));
  if (missing.length === 0) return [WEIGHTS_INDEX, ...shards];
  throw new FltacError(
    'NETWORK',
    `model ${snapshot.repo.id} at commit ${snapshot.commit} lacks ${missing.join(', ')}, which its ${WEIGHTS_INDEX} names`,
  );
}

/** File names that a safetensors index maps tensors to. @throws FORMAT */
async function readShards(path: string): Promise<string[]> {
  try {
    const text = await readFile(path, 'utf8');
    assertShallow(text, path);
    const index: unknown = JSON.parse(text);
    const map = typeof index === 'object' && index !== null && 'weight_map' in index ? index.weight_map : undefined;
    if (typeof map !== 'object' || map === null) throw new Error('it has no weight_map');
    const names = Object.values(map) as unknown[];
    if (names.length === 0 || !names.every((name) => typeof name === 'string'))
      throw new Error('weight_map names no files');
    return [...new Set(names)].sort();
  } catch (error) {
    if (error instanceof FltacError) throw error;
    throw new FltacError('FORMAT', `${path}: expected a safetensors index (${String(error)})`, { cause: error });
  }
}

function noSafetensors(what: string, others: string): FltacError {
  const found = others ? `only ${others}` : 'no weights at all';
  return new FltacError(
    'UNSUPPORTED',
    `${what} has no ${WEIGHTS} but ${found}: fltac reads safetensors only, since other formats can run code when loaded; ` +
      'choose a revision that has them, or save the model with save_pretrained(…, safe_serialization=True)',
  );
}

function some(names: readonly string[]): string {
  return names.length > 8 ? `${names.slice(0, 8).join(', ')}, …` : names.join(', ') || 'no files';
}
