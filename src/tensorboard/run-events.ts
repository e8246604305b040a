/** What a run's journals say, as TensorBoard shows it. */
import { appendFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { FltacError, messageOf } from '../errors.js';
import { ASSIGNMENT_RECORD, METRIC_RECORD, isKnownPhase, readJournal } from '../report/journals.js';
import type { AssignmentRecord, MetricRecord } from '../report/journals.js';
import { makeFolders, writeWholeFile } from '../run/files.js';
import { RUN_FILES } from '../run/folder.js';
import { assertRunFolder } from '../run/saved.js';
import { scalarRecord, versionRecord, type Scalar } from './event-file.js';

const STARTED = z.object({ started: z.iso.datetime() });

/**
 * Writes a run's curves as one event file: loss of each task (mean over its clients, weighted by their rows), metric of
 * each task, clustering accuracy, ARI, inertia, seconds of a round. A file that holds the beginning of it is added to, so
 * that a TensorBoard that has it open sees the new rounds; any other file of the run is replaced whole.
 *
 * @param out default: `tensorboard` of the run's folder
 * @returns the file's path
 * @throws FltacError USAGE for a folder that is no run's; FORMAT or IO naming a journal that cannot be read; IO
 */
export async function writeRunEvents(folder: string, out?: string): Promise<string> {
  const absolute = path.resolve(folder);
  await assertRunFolder(absolute);
  const metrics = await readJournal(path.join(absolute, RUN_FILES.metrics), METRIC_RECORD, { keep: isKnownPhase });
  const assignments = await readJournal(path.join(absolute, RUN_FILES.assignments), ASSIGNMENT_RECORD, {
    optional: true,
  });
  const started = await startOf(absolute);
  const scalars = runScalars(metrics, assignments, started);
  const target = path.resolve(out ?? path.join(absolute, 'tensorboard'));
  await makeFolders(target);
  const file = path.join(target, `events.out.tfevents.${Math.floor(started)}.fltac`);
  await extendFile(file, Buffer.concat([versionRecord(started), ...scalars.map(scalarRecord)]));
  return file;
}

/** Makes the file hold `bytes`: by what is missing at its end where it holds their beginning, else whole. */
async function extendFile(file: string, bytes: Buffer): Promise<void> {
  const there = await readFile(file).catch(() => undefined);
  if (there === undefined || !bytes.subarray(0, there.length).equals(there)) return writeWholeFile(file, bytes);
  try {
    await appendFile(file, bytes.subarray(there.length));
  } catch (cause) {
    throw new FltacError('IO', `${file} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

/** The plotted numbers of whole rounds, in order; a round's wall time is the start plus the seconds of all rounds so far. */
export function runScalars(
  metrics: readonly MetricRecord[],
  assignments: readonly AssignmentRecord[],
  started: number,
): Scalar[] {
  const wallTimes = new Map<number, number>([[0, started]]);
  let elapsed = 0;
  for (const record of metrics) {
    if (record.phase !== 'round_done') continue;
    elapsed += record.seconds;
    wallTimes.set(record.round, started + elapsed);
  }
  const at = (step: number, tag: string, value: number | null | undefined): Scalar[] => {
    const wallTime = wallTimes.get(step);
    return wallTime === undefined || value === null || value === undefined ? [] : [{ tag, step, value, wallTime }];
  };
  const scalars = [
    ...losses(metrics).flatMap(({ round, task, loss }) => at(round, `loss/${task}`, loss)),
    ...metrics.flatMap((record) => {
      if (record.phase === 'eval') return at(record.round, `metric/${record.task}`, record.metric);
      return record.phase === 'round_done' ? at(record.round, 'round/seconds', record.seconds) : [];
    }),
    ...assignments.flatMap(({ round, clustering_accuracy, ari, inertia }) => [
      ...at(round, 'clustering/accuracy', clustering_accuracy),
      ...at(round, 'clustering/ari', ari),
      ...at(round, 'clustering/inertia', inertia),
    ]),
  ];
  return scalars.sort((a, b) => a.step - b.step);
}

/** Mean loss of each round and task over its clients, weighted by their rows. */
function losses(metrics: readonly MetricRecord[]): { round: number; task: string; loss: number }[] {
  const sums = new Map<string, { round: number; task: string; loss: number; weight: number }>();
  for (const record of metrics) {
    if (record.phase !== 'local') continue;
    const { round, task, loss, n } = record;
    const key = `${round} ${task}`;
    const sum = sums.get(key) ?? { round, task, loss: 0, weight: 0 };
    sums.set(key, { ...sum, loss: sum.loss + n * loss, weight: sum.weight + n });
  }
  return [...sums.values()].map(({ round, task, loss, weight }) => ({ round, task, loss: loss / weight }));
}

/** Seconds since 1970 at which the run began. */
async function startOf(folder: string): Promise<number> {
  const file = path.join(folder, RUN_FILES.environment);
  try {
    return Date.parse(STARTED.parse(JSON.parse(await readFile(file, 'utf8'))).started) / 1000;
  } catch (cause) {
    throw new FltacError('FORMAT', `${file}: expected the environment record of a run (${messageOf(cause)})`, {
      cause,
    });
  }
}
