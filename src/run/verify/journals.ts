/** Reads a run's journals line by line, keeping what each line said: for checks, which must not trust the writer. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { FltacError, messageOf } from '../../errors.js';
import type { Faults } from './findings.js';

const count = z.int().min(0);
const name = z.string().min(1);
const loss = z.number().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** Fields that records always have; further ones may be there. */
const LOCAL = z.looseObject({
  ...{ round: z.int().min(1), phase: z.literal('local'), client: count, task: name, n: z.int().min(1) },
  ...{ loss, first_loss: loss, last_loss: loss, steps: z.int().min(1) },
});

const EVALUATED = z.looseObject({
  ...{ round: count, phase: z.literal('eval'), task: name, metric: z.number().min(0), loss },
  ...{ rows: z.int().min(1), adapters: z.int().min(1) },
});

/** Absent in runs of versions before it. */
const PROOF = z.looseObject({
  ...{ moved_tensors: count, cluster_sizes: z.array(count), mean_values: count },
  mean_error: z.number().min(0).nullable(),
  ...{ records_sha256: sha256, assignment_sha256: sha256, adapters_sha256: sha256.nullable() },
});

const DONE = z.looseObject({
  ...{ round: z.int().min(1), phase: z.literal('round_done'), seconds: z.number().min(0), optimizer_steps: count },
  clustering_accuracy: z.number().min(0).max(1).nullable(),
  proof: PROOF.optional(),
});

/** Who took part, where it was not everyone wholly. */
const CLIENTS = z.looseObject({
  ...{ round: z.int().min(1), phase: z.literal('clients') },
  ...{ selected: z.array(count), dropped: z.array(count), stragglers: z.array(count) },
  failed: z.array(z.looseObject({ client: count })),
  aggregated: z.boolean(),
});

/** Records of phases that later versions add are only counted to their round. */
const OTHER = z.looseObject({ round: count, phase: name });

const ASSIGNMENT = z.looseObject({
  ...{ round: z.int().min(1), labels: z.array(count), true_tasks: z.array(name) },
  ...{ clients: z.array(count), samples: z.array(z.int().min(1)), clusters: count },
  clustering_accuracy: z.number().min(0).max(1).nullable(),
  ari: z.number().min(-1).max(1).nullable(),
  inertia: z.number().min(0).nullable(),
});

export type LocalLine = z.infer<typeof LOCAL>;
export type EvalLine = z.infer<typeof EVALUATED>;
export type ClientsLine = z.infer<typeof CLIENTS>;
export type DoneLine = z.infer<typeof DONE>;
export type AssignmentLine = z.infer<typeof ASSIGNMENT> & { text: string };

/** A complete round in metrics.jsonl. */
export interface RoundLines {
  round: number;
  /** absent where every client with data took its whole part */
  clients?: ClientsLine;
  local: LocalLine[];
  evals: EvalLine[];
  done: DoneLine;
  /** the round's lines before round_done, as they stand in the file */
  text: string;
}

export interface Metrics {
  /** round 0: the untuned backbone */
  untuned: EvalLine[];
  rounds: RoundLines[];
  /** lines after the last complete round */
  unfinished: number;
}

interface Line {
  number: number;
  /** with its newline */
  text: string;
  value: unknown;
}

/** @throws FltacError IO; FORMAT naming the line that is not JSON, or a last line that was cut off */
async function readLines(file: string): Promise<Line[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    // Before its first round is complete a run has none.
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
  if (text !== '' && !text.endsWith('\n')) throw new FltacError('FORMAT', `${file} ends in the middle of a line`);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, i) => {
      try {
        return { number: i + 1, text: `${line}\n`, value: JSON.parse(line) as unknown };
      } catch (cause) {
        throw new FltacError('FORMAT', `${file}:${i + 1} is not JSON: ${messageOf(cause)}`, { cause });
      }
    });
}

function parse<T>(schema: z.ZodType<T>, line: Line, file: string): T {
  const parsed = schema.safeParse(line.value);
  if (parsed.success) return parsed.data;
  const faults = z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' ');
  throw new FltacError('FORMAT', `${file}:${line.number}: ${faults}`);
}

/**
 * Reads metrics.jsonl into rounds; lines of another round within a round are faults.
 *
 * @throws FltacError IO; FORMAT naming a line that is no record
 */
export async function readMetrics(file: string, faults: Faults): Promise<Metrics> {
  const metrics: Metrics = { untuned: [], rounds: [], unfinished: 0 };
  let open: Omit<RoundLines, 'done' | 'round'> = { local: [], evals: [], text: '' };
  let lines = 0;
  for (const line of await readLines(file)) {
    const { round, phase } = parse(OTHER, line, file);
    if (phase === 'eval' && round === 0) {
      metrics.untuned.push(parse(EVALUATED, line, file));
      continue;
    }
    const expected = metrics.rounds.length + 1;
    if (round !== expected) faults.add(`line ${line.number} is of round ${round}, where round ${expected} is expected`);
    lines += 1;
    if (phase === 'round_done') {
      metrics.rounds.push({ ...open, round, done: parse(DONE, line, file) });
      open = { local: [], evals: [], text: '' };
      lines = 0;
      continue;
    }
    open.text += line.text;
    if (phase === 'clients') open.clients = parse(CLIENTS, line, file);
    if (phase === 'local') open.local.push(parse(LOCAL, line, file));
    if (phase === 'eval') open.evals.push(parse(EVALUATED, line, file));
  }
  return { ...metrics, unfinished: lines };
}

/** @throws FltacError IO; FORMAT naming a line that is no record */
export async function readAssignments(file: string): Promise<AssignmentLine[]> {
  return (await readLines(file)).map((line) => ({ ...parse(ASSIGNMENT, line, file), text: line.text }));
}
