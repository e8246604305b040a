/**
 * Reading a run's journals back. A line that was cut off at the end belongs to a round that did not happen (or is being
 * written now) and is passed over; any other line that is no record is an error with its place.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { FltacError, messageOf } from '../errors.js';

const round = z.int().nonnegative();
const names = z.array(z.string());
const numbersOrNull = z.array(z.number().nullable()).nullish();

/** Fields that the report uses; others are passed over. */
export const METRIC_RECORD = z.discriminatedUnion('phase', [
  z.looseObject({
    phase: z.literal('local'),
    round,
    client: z.int().nonnegative(),
    task: z.string(),
    loss: z.number(),
    n: z.number(),
  }),
  z.looseObject({
    phase: z.literal('eval'),
    round,
    task: z.string(),
    metric: z.number(),
    loss: z.number().optional(),
    rows: z.number().optional(),
    majority_floor: z.number().nullish(),
  }),
  z.looseObject({
    phase: z.literal('communication'),
    round,
    client: z.int().nonnegative(),
    up: z.number().nonnegative(),
    down: z.number().nonnegative(),
  }),
  z.looseObject({
    phase: z.literal('round_done'),
    round,
    seconds: z.number(),
    optimizer_steps: z.number().optional(),
    clustering_accuracy: z.number().nullish(),
  }),
]);

export const ASSIGNMENT_RECORD = z.looseObject({
  round,
  labels: z.array(z.int()),
  true_tasks: names,
  clustering_accuracy: z.number().nullable(),
  ari: z.number().nullish(),
  inertia: z.number().nullish(),
  clients: z.array(z.int().nonnegative()),
  samples: z.array(z.number()),
  margin: numbersOrNull,
  silhouette: numbersOrNull,
});

export const GEOMETRY_RECORD = z.looseObject({
  round,
  submissions: z.array(z.int().nonnegative()),
  squared_distances: z.base64(),
});

export type MetricRecord = z.infer<typeof METRIC_RECORD>;
export type AssignmentRecord = z.infer<typeof ASSIGNMENT_RECORD>;
export type GeometryRecord = z.infer<typeof GEOMETRY_RECORD>;

const PHASES: readonly string[] = METRIC_RECORD.options.map((option) => option.shape.phase.value);

/** The phases of other fltac versions are passed over. */
export function isKnownPhase(value: unknown): boolean {
  const phase = (value as { phase?: unknown } | null)?.phase;
  return typeof phase !== 'string' || PHASES.includes(phase);
}

/**
 * The records of a journal.
 *
 * @param optional whether an absent file is an empty one
 * @param keep which objects to look at; default: all
 * @throws FltacError IO; FORMAT naming the file and the line that is no record
 */
export async function readJournal<T>(
  path: string,
  schema: z.ZodType<T>,
  { optional = false, keep = () => true }: { optional?: boolean; keep?: (value: unknown) => boolean } = {},
): Promise<T[]> {
  const text = await readText(path, optional);
  const lines = text.split('\n');
  // What follows the last newline is empty, or a line that was not written to its end.
  lines.pop();
  return lines.flatMap((line, i) => {
    const value = parseLine(line, `${path}:${i + 1}`);
    if (!keep(value)) return [];
    const record = schema.safeParse(value);
    if (record.success) return [record.data];
    const faults = z.prettifyError(record.error).replaceAll(/\s*\n\s*/g, ' ');
    throw new FltacError('FORMAT', `${path}:${i + 1} is not a record of a run: ${faults}`);
  });
}

function parseLine(line: string, place: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    const shown = line.length > 60 ? `${line.slice(0, 60)}…` : line;
    throw new FltacError('FORMAT', `${place} is not JSON (${messageOf(cause)}): ${shown}`, { cause });
  }
}

async function readText(path: string, optional: boolean): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (optional && (cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new FltacError('IO', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
