/** Checks the checkpoint against the run that it lies in: another run's, or an older one, would go on with something else. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { AdapterLayout } from '../../engine/types.js';
import { FltacError, messageOf } from '../../errors.js';
import { readRoundAdapters, roundFile } from '../artifacts.js';
import { readCheckpoint, readCheckpointState, type CheckpointRecord } from '../checkpoint.js';
import { digestOfText } from '../digest.js';
import { RUN_FILES } from '../folder.js';
import type { JsonValue } from '../journal.js';
import { changedSettings } from '../resume.js';
import { readJson, type Evidence, type Journals, type PlanEvidence } from './evidence.js';
import { skipped, type Faults, type Finding } from './findings.js';

const CHECK = 'checkpoint';

/** @param ended whether the run came to its end, which `manifest.json` marks */
export async function checkCheckpoint(
  run: Evidence,
  layout: AdapterLayout,
  partition: PlanEvidence,
  journals: Journals,
  { ended, faults }: { ended: boolean; faults: Faults },
): Promise<Finding> {
  const { folder, config, plannedRounds } = run;
  const complete = journals.metrics.rounds.length;
  const record = await readCheckpoint(folder);
  if (record === undefined) {
    return skipped(CHECK, complete === plannedRounds ? 'it was removed' : 'there is none: the run cannot be resumed');
  }
  // A run may have been killed between a round's last record and its commit.
  const rounds = ended || complete === 0 ? [complete] : [complete - 1, complete];
  if (!rounds.includes(record.round)) faults.add(`it is of round ${record.round}, metrics.jsonl has ${complete}`);
  for (const { key, before, now } of changedSettings(record, config)) {
    faults.add(`it is of a run with ${key} ${JSON.stringify(before)}, config.yaml has ${JSON.stringify(now)}`);
  }
  await checkOrigin(run, record, partition, faults);
  for (const name of ['metrics', 'assignments', 'geometry'] as const) {
    await checkJournal(path.join(folder, RUN_FILES[name]), record.journals[name], ended, faults);
  }
  await checkVectors(run, layout, record, faults);
  return faults.finding(
    CHECK,
    `round ${record.round}: settings, model, partition, journals and adapters are the run's`,
  );
}

async function checkOrigin(
  { folder }: Evidence,
  { origin }: CheckpointRecord,
  { expected }: PlanEvidence,
  faults: Faults,
): Promise<void> {
  if (origin['partition'] !== digestOfText(JSON.stringify(expected)))
    faults.add('it is of a run with another partition');
  const { model } = await readJson(path.join(folder, RUN_FILES.environment));
  const { id, revision } = (model ?? {}) as Record<string, JsonValue | undefined>;
  if (!isDeepStrictEqual(origin['model'], { id, revision })) faults.add('it is of a run with another model');
}

/** That the journal begins with what the checkpoint knows, and has no more where the run has ended. */
async function checkJournal(
  file: string,
  mark: CheckpointRecord['journals']['metrics'],
  ended: boolean,
  faults: Faults,
): Promise<void> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
  const name = path.basename(file);
  if (bytes.length < mark.bytes) faults.add(`${name} has ${bytes.length} bytes, the checkpoint knows ${mark.bytes}`);
  else if (digestOfText(bytes.subarray(0, mark.bytes)) !== mark.sha256) faults.add(`${name} was changed after it`);
  else if (ended && bytes.length > mark.bytes) faults.add(`${name} goes on after the last round`);
}

/** That the adapters that it goes on from are those of its round's file, where that was saved. */
async function checkVectors(
  run: Evidence,
  layout: AdapterLayout,
  record: CheckpointRecord,
  faults: Faults,
): Promise<void> {
  const { face, folder, savedRounds } = run;
  const { held, vectors } = await readCheckpointState(face, folder, record, layout);
  if (!savedRounds.includes(record.round)) return;
  const saved = await readRoundAdapters(face, roundFile(folder, record.round), layout);
  const file = `adapters_round_${record.round}.pt`;
  if (!isDeepStrictEqual(held, saved.held ?? saved.labels))
    faults.add(`its clients hold other adapters than in ${file}`);
  const adapters = vectors.get('adapters') ?? [];
  if (adapters.length !== saved.states.size)
    faults.add(`it has ${adapters.length} adapters, ${file} ${saved.states.size}`);
  for (const [number, state] of saved.states) {
    if (adapters[number]?.every((value, i) => value === state[i]) !== true)
      faults.add(`its adapter ${number} is not that of ${file}`);
  }
}
