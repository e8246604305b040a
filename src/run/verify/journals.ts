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

const COMMUNICATION = z.looseObject({
  ...{ round: z.int().min(1), phase: z.literal('communication'), client: count },
  ...{ adapters: z.int().min(1), up: count, down: count },
});

/** Records of phases that later versions add are only counted to their round. */
const OTHER = z.looseObject({ round: count, phase: name });

const ASSIGNMENT = z.looseObject({
  ...{ round: z.int().min(1), labels: z.array(count), true_tasks: z.array(name) },
  ...{ clients: z.array(count), samples: z.array(z.int().min(1)), clusters: count },
  clustering_accuracy: z.number().min(0).max(1).nullable(),
  ari: z.number().min(-1).max(1).nullable(),
  inertia: z.number().min(0).nullable(),
  ...{ update_norms: z.array(z.number().min(0)).optional(), clipped: z.array(count).optional() },
  outliers: z
    .array(z.looseObject({ submission: count, measure: name, value: z.number(), median: z.number() }))
    .optional(),
});

const GEOMETRY = z.looseObject({
  ...{ round: z.int().min(1), submissions: z.array(count), squared_distances: z.base64() },
});

export type LocalLine = z.infer<typeof LOCAL>;
export type EvalLine = z.infer<typeof EVALUATED>;
export type CommunicationLine = z.infer<typeof COMMUNICATION>;
export type ClientsLine = z.infer<typeof CLIENTS>;
export type DoneLine = z.infer<typeof DONE>;
export type AssignmentLine = z.infer<typeof ASSIGNMENT> & { text: string };

/** A round's line of geometry.jsonl. */
export interface GeometryLine {
  round: number;
  submissions: number[];
  /** as `Geometry` has them */
  squared: number[];
}

/** A complete round in metrics.jsonl. */
export interface RoundLines {
  round: number;
  /** absent where every client with data took its whole part */
  clients?: ClientsLine;
  local: LocalLine[];
  traffic: CommunicationLine[];
  evals: EvalLine[];
  done: DoneLine;
  /** the round's lines before round_done, as they stand in the file */
  text: string;
}

export interface Metrics {
  /** round 0: the untuned backbone */
  untuned: EvalLine[];
  rounds: RoundLines[];
  /** lines after the last complete round, one that was cut off too */
  unfinished: number;
}

interface Line {
  number: number;
  /** with its newline */
  text: string;
  value: unknown;
}

interface Lines {
  lines: Line[];
  /** whether the file ends in the middle of a line, as where a run was killed while it wrote */
  cut: boolean;
}

/** @throws FltacError IO; FORMAT naming the line that is not JSON */
async function readLines(file: string): Promise<Lines> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    // Before its first round is complete a run has none.
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
  const lines = text
    .split('\n')
    .slice(0, -1)
    .map((line, i) => {
      try {
        return { number: i + 1, text: `${line}\n`, value: JSON.parse(line) as unknown };
      } catch (cause) {
        throw new FltacError('FORMAT', `${file}:${i + 1} is not JSON: ${messageOf(cause)}`, { cause });
      }
    });
  return { lines, cut: text !== '' && !text.endsWith('\n') };
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
  const nothing = () => ({ local: [], traffic: [], evals: [], text: '' });
  let open: Omit<RoundLines, 'done' | 'round'> = nothing();
  let unfinished = 0;
  const { lines, cut } = await readLines(file);
  for (const line of lines) {
    const { round, phase } = parse(OTHER, line, file);
    if (phase === 'eval' && round === 0) {
      metrics.untuned.push(parse(EVALUATED, line, file));
      continue;
    }
    const expected = metrics.rounds.length + 1;
    if (round !== expected) faults.add(`line ${line.number} is of round ${round}, where round ${expected} is expected`);
    unfinished += 1;
    if (phase === 'round_done') {
      metrics.rounds.push({ ...open, round, done: parse(DONE, line, file) });
      open = nothing();
      unfinished = 0;
      continue;
    }
    open.text += line.text;
    if (phase === 'clients') open.clients = parse(CLIENTS, line, file);
    if (phase === 'local') open.local.push(parse(LOCAL, line, file));
    if (phase === 'communication') open.traffic.push(parse(COMMUNICATION, line, file));
    if (phase === 'eval') open.evals.push(parse(EVALUATED, line, file));
  }
  return { ...metrics, unfinished: unfinished + Number(cut) };
}

/** Records of a journal that has one a round. */
export interface RoundRecords<T> {
  lines: T[];
  /** whether a further one was cut off */
  cut: boolean;
}

/** @throws FltacError IO; FORMAT naming a line that is no record */
export async function readAssignments(file: string): Promise<RoundRecords<AssignmentLine>> {
  const { lines, cut } = await readLines(file);
  return { lines: lines.map((line) => ({ ...parse(ASSIGNMENT, line, file), text: line.text })), cut };
}

/** @throws FltacError IO; FORMAT naming a line that is no record */
export async function readGeometry(file: string): Promise<RoundRecords<GeometryLine>> {
  const { lines, cut } = await readLines(file);
  return { lines: lines.map((line) => geometryOf(parse(GEOMETRY, line, file), line, file)), cut };
}

function geometryOf({ round, submissions, squared_distances }: z.infer<typeof GEOMETRY>, line: Line, file: string) {
  const bytes = Buffer.from(squared_distances, 'base64');
  const pairs = (submissions.length * (submissions.length - 1)) / 2;
  if (bytes.length !== pairs * Float32Array.BYTES_PER_ELEMENT) {
    throw new FltacError(
      'FORMAT',
      `${file}:${line.number}: expected float32 distances of ${pairs} pairs, found ${bytes.length} bytes`,
    );
  }
  return { round, submissions, squared: Array.from({ length: pairs }, (_, i) => bytes.readFloatLE(4 * i)) };
}
