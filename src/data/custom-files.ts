/** Where the rows of a custom task are: files on this machine, or of a data set on the Hub. */
import { extname, isAbsolute, join, resolve } from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { packagedFile } from '../config/packaged.js';
import type { CustomTask } from '../config/custom-tasks.js';
import { FltacError } from '../errors.js';
import { digestOfFile } from '../run/digest.js';
import { fileSize } from './hub/cache.js';
import { hubSettings } from './hub/settings.js';
import { withSnapshot, type Snapshot } from './hub/snapshot.js';
import { DATA_ENDINGS } from './read-table.js';
import type { DataContext, Provenance } from './scenario.js';

/** A task's data files, absolute, and where they came from. */
export interface TaskFiles {
  train: readonly string[];
  /** undefined where a share of the training rows is held out */
  validation: readonly string[] | undefined;
  provenance: Provenance;
}

type Split = string | readonly string[];

/** Finds the files of a task, downloading what the cache lacks. @throws USAGE, NETWORK, IO, ABORTED */
export async function findTaskFiles(
  name: string,
  task: CustomTask,
  config: RunConfig,
  context: DataContext,
): Promise<TaskFiles> {
  return task.hub === undefined ? localFiles(name, task) : hubFiles(name, task, task.hub, config, context);
}

async function localFiles(name: string, task: CustomTask): Promise<TaskFiles> {
  const held = heldOut(task);
  const files = [...list(task.train), ...(held === undefined ? [] : list(held))];
  for (const file of files) {
    if (DATA_ENDINGS.includes(extname(file).toLowerCase())) continue;
    const hint = extname(file) === '' ? '; for a split of a data set on the Hub give hub: org/name, too' : '';
    throw new FltacError(
      'USAGE',
      `task ${name}: expected files that end in ${DATA_ENDINGS.join(', ')}, found ${file}${hint}`,
    );
  }
  const sizes = await Promise.all(files.map((file) => fileSize(placeOf(file))));
  const missing = files.filter((_, i) => sizes[i] === undefined);
  if (missing.length > 0) {
    const absolute = missing.map((file) => resolve(file)).join(', ');
    const relative = missing.some((file) => !isAbsolute(file));
    throw new FltacError(
      'IO',
      `task ${name}: there is no file ${absolute}` +
        (relative ? `; paths in data are taken from the folder that fltac is started in, here ${process.cwd()}` : ''),
    );
  }
  return {
    train: list(task.train).map(placeOf),
    validation: held === undefined ? undefined : list(held).map(placeOf),
    provenance: { repo: `custom/${name}`, revision: 'local', files, sha256: await Promise.all(files.map(digestOf)) },
  };
}

async function digestOf(file: string): Promise<string> {
  return digestOfFile(placeOf(file));
}

function placeOf(file: string): string {
  return resolve(packagedFile(file));
}

async function hubFiles(
  name: string,
  task: CustomTask,
  id: string,
  config: RunConfig,
  context: DataContext,
): Promise<TaskFiles> {
  const settings = hubSettings(config.cacheDir);
  return withSnapshot({ type: 'dataset', id }, task.revision ?? 'main', settings, context, async (snapshot) => {
    const listed = await snapshot.list(task.subset);
    const find = (split: Split) => list(split).flatMap((wanted) => splitFiles(name, task, wanted, listed, snapshot));
    const held = heldOut(task);
    const train = find(task.train);
    const validation = held === undefined ? undefined : find(held);
    const files = [...new Set([...train, ...(validation ?? [])])];
    const table = files.find((file) => extname(file) !== '.parquet');
    if (task.image !== undefined && table !== undefined) {
      // Its images would be paths, and what a foreign file names must not be opened on this machine.
      throw new FltacError('USAGE', `task ${name}: images from the Hub must lie in Parquet files, found ${table}`);
    }
    await snapshot.fetch(files);
    await snapshot.remember();
    const inFolder = (names: readonly string[]) => names.map((file) => join(snapshot.folder, file));
    return {
      train: inFolder(train),
      validation: validation && inFolder(validation),
      provenance: { repo: `datasets/${id}`, revision: snapshot.commit, files },
    };
  });
}

/**
 * The files that a text names: one of the data set's files, or a split laid out as the Hub's data sets are:
 * `[<subset>/][data/]<split>.<ending>`, with `-00000-of-0000N…` for shards, or `<split>/<number>.parquet`.
 * @throws NETWORK naming the files there are, where none is such a file or shards are missing
 */
function splitFiles(
  name: string,
  task: CustomTask,
  wanted: string,
  listed: readonly string[],
  snapshot: Snapshot,
): string[] {
  const folder = task.subset === undefined ? '' : `${task.subset}/`;
  const exact = [wanted, folder + wanted].find((file) => listed.includes(file));
  if (exact !== undefined) return [exact];
  const literal = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const pattern = new RegExp(
    `^${literal(folder)}(?:data/)?${literal(wanted)}(?:-(\\d+)-of-(\\d+)(?:-\\w+)?|/\\d+)?(\\.\\w+)$`,
  );
  const matches = listed.flatMap((file) => {
    const match = pattern.exec(file);
    return match ? [{ file, of: match[2], ending: match[3]! }] : [];
  });
  const ending = DATA_ENDINGS.find((known) => matches.some((match) => match.ending === known));
  const found = matches.filter((match) => match.ending === ending).sort((a, b) => (a.file < b.file ? -1 : 1));
  const expected = Number(found[0]?.of ?? found.length);
  if (found.length > 0 && found.length === expected) return found.map(({ file }) => file);
  const why = found.length > 0 ? `${found.length} of ${expected} files are there` : 'no file is called so';
  throw new FltacError(
    'NETWORK',
    `task ${name}: dataset ${snapshot.repo.id} at commit ${snapshot.commit} has no split or file "${wanted}"` +
      `${folder === '' ? '' : ` in ${folder}`}: ${why} (it has: ${some(listed)}); ` +
      'if only the cache is used, run once with the network',
  );
}

function heldOut({ validation }: CustomTask): Split | undefined {
  return typeof validation === 'number' ? undefined : validation;
}

function list(split: Split): readonly string[] {
  return typeof split === 'string' ? [split] : split;
}

function some(names: readonly string[]): string {
  return names.length > 20 ? `${names.slice(0, 20).join(', ')}, …` : names.join(', ') || 'no files';
}
