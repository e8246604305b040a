/**
 * A run's checkpoint: what goes on after an interruption needs, committed once a round. The vectors lie in a file named
 * by their round; `state.json`, renamed into place last, says which of them count and how far the journals reach. A run
 * that is cut off at any moment finds either the old checkpoint or the new one.
 */
import { mkdir, open, readFile, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { AdapterLayout, ArchiveTensor } from '../engine/types.js';
import { FltacError, messageOf } from '../errors.js';
import type { EngineFace } from '../federation/engine.js';
import type { FederationState } from '../federation/round.js';
import { digestOfFile, digestOfText } from './digest.js';
import { flushFolder, writeJsonFile } from './files.js';
import { RUN_FILES } from './folder.js';
import type { JsonValue } from './journal.js';

/** Raised whenever a checkpoint of this version would be misread by another. */
const FORMAT = 1;

const STATE_FILE = 'state.json';

/** How far a journal counts: its first `bytes` bytes, whose SHA-256 this is. */
const journalMark = z.strictObject({ bytes: z.int().min(0), sha256: z.string() });
export type JournalMark = z.infer<typeof journalMark>;

const taskScore = z.object({
  task: z.string(),
  metric: z.number(),
  majorityFloor: z.number().nullable(),
  loss: z.number(),
  rows: z.int(),
  tokens: z.int().exactOptional(),
  adapters: z.int(),
});

const json: z.ZodType<JsonValue> = z.json();

const record = z.object({
  format: z.literal(FORMAT),
  /** version of fltac that wrote it */
  fltac: z.string(),
  /** complete rounds */
  round: z.int().min(0),
  /** wall-clock time that they took, all processes together */
  seconds: z.number().min(0),
  /** keys that a continuation may not change, with their values */
  config: z.record(z.string(), json),
  /** what the run was made from: a continuation must find the same */
  origin: z.record(z.string(), json),
  /** what its floats may depend on: a continuation is told of differences */
  machine: z.record(z.string(), json),
  /** whether it is the last round of the run as it was configured */
  complete: z.boolean(),
  journals: z.object({ metrics: journalMark, assignments: journalMark, geometry: journalMark }),
  /** metrics of the common initial adapter, which are taken in the first round; null before */
  untuned: z.array(taskScore).nullable(),
  /** what the final table tells of the last complete round; null before the first */
  last: z
    .object({
      scores: z.array(taskScore).exactOptional(),
      clusteringAccuracy: z.number().nullable(),
      ari: z.number().nullable(),
      optimizerSteps: z.int(),
    })
    .nullable(),
  held: z.array(z.int().min(0)),
  /** file of the vectors, and how many each name has */
  vectors: z.object({ file: z.string(), sha256: z.string(), counts: z.record(z.string(), z.int().min(0)) }),
});
export type CheckpointRecord = Readonly<z.infer<typeof record>>;

/** What a checkpoint says besides the federation's state. */
export type CheckpointFacts = Omit<CheckpointRecord, 'format' | 'held' | 'vectors'>;

export function checkpointFolder(folder: string): string {
  return path.join(folder, RUN_FILES.checkpoint);
}

/**
 * Commits a round. When it returns the round is safe and files of earlier rounds are gone.
 *
 * @throws FltacError IO; the earlier checkpoint then still holds
 */
export async function writeCheckpoint(
  face: EngineFace,
  folder: string,
  facts: CheckpointFacts,
  { held, vectors }: FederationState,
): Promise<void> {
  const own = checkpointFolder(folder);
  const file = `round_${facts.round}.safetensors`;
  try {
    await mkdir(own, { recursive: true });
  } catch (cause) {
    throw new FltacError('IO', `${own} cannot be made: ${messageOf(cause)}`, { cause });
  }
  await face.writeSafetensors(path.join(own, file), tensorsOf(vectors));
  const counts = Object.fromEntries([...vectors].map(([name, rows]) => [name, rows.length]));
  const sha256 = await digestOfFile(path.join(own, file));
  const whole: CheckpointRecord = { format: FORMAT, ...facts, held: [...held], vectors: { file, sha256, counts } };
  await writeJsonFile(path.join(own, STATE_FILE), whole);
  await flushFolder(own);
  await keepOnly(own, [STATE_FILE, file]);
}

/**
 * What the folder's checkpoint says; undefined where it has none.
 *
 * @throws FltacError IO; FORMAT for one that is not whole or of another version
 */
export async function readCheckpoint(folder: string): Promise<CheckpointRecord | undefined> {
  const file = path.join(checkpointFolder(folder), STATE_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(file, messageOf(cause), cause);
  }
  const parsed = record.safeParse(value);
  if (parsed.success) return parsed.data;
  const { format } = (value ?? {}) as { format?: unknown };
  if (typeof format === 'number' && format !== FORMAT) {
    throw damaged(file, `expected format ${FORMAT}, found ${format}: another version of fltac wrote it`);
  }
  throw damaged(file, z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' '));
}

/**
 * The federation's state of a checkpoint.
 *
 * @throws FltacError IO; FORMAT for vectors that are not those that were written
 */
export async function readCheckpointState(
  face: EngineFace,
  folder: string,
  { held, vectors }: CheckpointRecord,
  layout: AdapterLayout,
): Promise<FederationState> {
  const file = path.join(checkpointFolder(folder), path.basename(vectors.file));
  const found = await digestOfFile(file).catch((error: unknown) => {
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    if (cause?.code === 'ENOENT') throw damaged(file, 'it is missing', error);
    throw error;
  });
  if (found !== vectors.sha256) {
    throw damaged(file, `its SHA-256 is not the one that ${STATE_FILE} knows`);
  }
  const tensors = await face.readSafetensors(file);
  const rows = Object.entries(vectors.counts).map(([name, count]) => {
    const own = Array.from({ length: count }, (_, i) => tensors.get(vectorName(name, i))?.data);
    const sound = own.filter((data): data is Float32Array => data?.length === layout.size);
    if (sound.length !== count) throw damaged(file, `expected ${count} vectors ${name} of ${layout.size} values`);
    return [name, sound] as const;
  });
  return { held, vectors: new Map(rows) };
}

function tensorsOf(vectors: FederationState['vectors']): Map<string, ArchiveTensor> {
  return new Map(
    [...vectors].flatMap(([name, rows]) =>
      rows.map((data, i) => [vectorName(name, i), { shape: [data.length], data }] as const),
    ),
  );
}

function vectorName(name: string, i: number): string {
  return `${name}.${i}`;
}

/** How far a journal reaches now; an absent one reaches nowhere. @throws FltacError IO */
export async function markJournal(file: string): Promise<JournalMark> {
  const bytes = await readJournal(file);
  return { bytes: bytes.length, sha256: digestOfText(bytes) };
}

/**
 * Cuts off what a journal holds beyond a mark: records of a round that did not become complete.
 *
 * @throws FltacError IO; FORMAT for a journal that is shorter than its mark or was changed before it
 */
export async function cutJournal(file: string, mark: JournalMark): Promise<void> {
  const bytes = await readJournal(file);
  if (bytes.length < mark.bytes || digestOfText(bytes.subarray(0, mark.bytes)) !== mark.sha256) {
    throw damaged(file, `its first ${mark.bytes} bytes are not those that the checkpoint knows`);
  }
  if (bytes.length === mark.bytes) return;
  try {
    const handle = await open(file, 'r+');
    try {
      await handle.truncate(mark.bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new FltacError('IO', `${file} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

async function readJournal(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Removes what a process that was killed between a commit and its tidying left; finished local work of the next round stays.
 *
 * @throws FltacError IO
 */
export async function tidyCheckpoint(folder: string, { round, vectors }: CheckpointRecord): Promise<void> {
  const own = checkpointFolder(folder);
  const next = `round_${round + 1}_work`;
  const work = (await readdir(own).catch(() => [])).filter((name) => name.startsWith(next));
  await keepOnly(own, [STATE_FILE, path.basename(vectors.file), ...work]);
}

/** Removes everything else in a folder. @throws FltacError IO */
async function keepOnly(folder: string, names: readonly string[]): Promise<void> {
  try {
    for (const name of await readdir(folder)) {
      if (!names.includes(name)) await rm(path.join(folder, name), { recursive: true, force: true });
    }
  } catch (cause) {
    throw new FltacError('IO', `${folder} cannot be tidied: ${messageOf(cause)}`, { cause });
  }
}

function damaged(file: string, what: string, cause?: unknown): FltacError {
  return new FltacError(
    'FORMAT',
    `${file}: ${what}. The run cannot go on from this checkpoint: restore the file, or give --overwrite to begin anew`,
    { cause },
  );
}
