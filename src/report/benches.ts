/** Measurements that `fltac bench` wrote, as the report draws them: times of sides on the same work. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { counted } from '../bench/counted.js';
import { KMEANS_SCHEMA } from '../bench/kmeans-report.js';
import type { TrainReport } from '../bench/train-report.js';
import { shapeText } from '../bench/kmeans-shapes.js';
import { FltacError, messageOf } from '../errors.js';

/** One side's time for one piece of work. */
export interface BenchTime {
  /** who computed, e.g. `fltac` or `peft, padded to the longest` */
  readonly side: string;
  readonly seconds: { readonly least: number; readonly median: number; readonly most: number };
  /** median over rounds of this side's time / fltac's; null of fltac itself */
  readonly ratio: number | null;
  /** of K-means: the inertia of what this side found / that of fltac's; null of fltac itself */
  readonly inertiaRatio?: number | null;
}

/** The same work by several sides. */
export interface BenchWork {
  readonly name: string;
  /** fltac first */
  readonly times: readonly BenchTime[];
}

export interface Bench {
  /** what was computed and, where figures of different settings would look alike, with which */
  readonly title: string;
  /** sentences: what was measured, on which machine, when, and where it is kept */
  readonly about: string;
  readonly works: readonly BenchWork[];
}

const TRAIN_SCHEMA: TrainReport['schema'] = 'fltac.bench.train/1';

const number = z.number().nonnegative();
const SPREAD = z.object({ least: number, median: number, most: number });
const MACHINE = z.object({ cpu: z.string(), cores: z.number() });

const KMEANS = z.object({
  schema: z.literal(KMEANS_SCHEMA),
  measuredAt: z.string(),
  machine: MACHINE.extend({ device: z.string(), threads: z.number(), gpu: z.string().nullable() }),
  settings: z.object({ repeat: z.number() }),
  partial: z.unknown().optional(),
  shapes: z.array(
    z.object({
      shape: z.object({
        batch: z.number(),
        rows: z.number(),
        columns: z.number(),
        k: z.number(),
        nInit: z.number(),
        maxIter: z.number(),
      }),
      results: z.array(
        // An inertia that is not finite is null in JSON.
        z.object({ side: z.string(), milliseconds: SPREAD, ratio: z.number(), inertiaRatio: z.number().nullable() }),
      ),
    }),
  ),
});

const TRAIN = z.object({
  schema: z.literal(TRAIN_SCHEMA),
  created: z.string(),
  machine: MACHINE,
  model: z.object({ id: z.string() }),
  work: z.object({
    tasks: z.array(z.string()),
    batchSize: z.number(),
    steps: z.number(),
    adapters: z.number(),
    maxLen: z.number(),
    rank: z.number(),
    dtype: z.string(),
    threads: z.number(),
    repeat: z.number(),
  }),
  sides: z.array(z.object({ name: z.string(), padding: z.string(), seconds: SPREAD, ratio: z.number().nullable() })),
});

const BENCH = z.discriminatedUnion('schema', [KMEANS, TRAIN]);

/** @throws FltacError IO; FORMAT for a file that is no measurement of `fltac bench kmeans` or `bench train` */
export async function readBench(file: string): Promise<Bench> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FltacError('FORMAT', `${file} is not JSON: ${messageOf(cause)}`, { cause });
  }
  const { schema } = z.object({ schema: z.unknown() }).catch({ schema: undefined }).parse(value);
  if (schema !== KMEANS_SCHEMA && schema !== TRAIN_SCHEMA) {
    throw new FltacError(
      'FORMAT',
      `${file} is no benchmark's file: expected one that fltac bench kmeans or fltac bench train wrote (--out)`,
    );
  }
  const found = BENCH.safeParse(value);
  if (!found.success) {
    const faults = z.prettifyError(found.error).replaceAll(/\s*\n\s*/g, ' ');
    throw new FltacError('FORMAT', `${file} is a benchmark's file (${schema}), but damaged: ${faults}`);
  }
  return found.data.schema === KMEANS_SCHEMA ? kmeansBench(found.data, file) : trainBench(found.data, file);
}

function kmeansBench(report: z.infer<typeof KMEANS>, file: string): Bench {
  const { machine, measuredAt, settings, partial, shapes } = report;
  const { device, gpu, threads } = machine;
  return {
    title: `K-means${partial === undefined ? '' : ' (stopped before all was measured)'}`,
    about:
      `Whole calls on data in memory, ${timesText(settings.repeat, Math.max(...shapes.map(({ results }) => results.length)))}; ${machineText(machine, threads)}, ` +
      `${gpu ?? device.toUpperCase()}. ${sourceText(file, measuredAt)}`,
    works: shapes.map(({ shape, results }) => ({
      name: shapeText(shape),
      times: results.map(({ side, milliseconds: { least, median, most }, ratio, inertiaRatio }) => ({
        side,
        seconds: { least: least / 1000, median: median / 1000, most: most / 1000 },
        ratio: side === 'fltac' ? null : ratio,
        inertiaRatio: side === 'fltac' ? null : inertiaRatio,
      })),
    })),
  };
}

const PADDINGS: Readonly<Record<string, string>> = {
  longest: ', padded to the longest',
  max_len: ', padded to max_len',
};

function trainBench({ machine, created, model, work, sides }: z.infer<typeof TRAIN>, file: string): Bench {
  const { adapters, steps, batchSize, maxLen, rank, dtype, threads, repeat } = work;
  return {
    title: `Local fine-tuning of ${model.id} in ${dtype}, ${counted(adapters, 'adapter')} of rank ${rank}`,
    about:
      `${counted(adapters, 'adapter')} of ${counted(steps, 'step')} of ${counted(batchSize, 'row')}, at most ` +
      `${counted(maxLen, 'token')}, ${timesText(repeat, sides.length)}; ${machineText(machine, threads)}. ` +
      sourceText(file, created),
    works: [
      {
        name: work.tasks.join(', '),
        times: sides.map(({ name, padding, seconds, ratio }) => ({
          side: `${name}${PADDINGS[padding] ?? ''}`,
          seconds,
          ratio,
        })),
      },
    ],
  };
}

function timesText(repeat: number, sides: number): string {
  const times = repeat === 1 ? 'once' : `${repeat} times`;
  if (sides < 2) return times;
  return repeat === 1 ? `${times} each` : `${times} each, in turn`;
}

function machineText({ cpu, cores }: z.infer<typeof MACHINE>, threads: number): string {
  return `${cpu}, ${counted(threads, 'thread')} on ${counted(cores, 'core')}`;
}

/** `kmeans.json of 2026-11-26` */
function sourceText(file: string, when: string): string {
  return `${path.basename(file)} of ${when.slice(0, 10)}`;
}
