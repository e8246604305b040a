/** Measurements that `fltac bench` wrote, as the report draws them: times of sides on the same work. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { KMEANS_SCHEMA } from '../bench/kmeans-report.js';
import { FltacError, messageOf } from '../errors.js';

/** One side's time for one piece of work. */
export interface BenchTime {
  /** who computed, e.g. `fltac` or `peft, padded to the longest` */
  readonly side: string;
  readonly seconds: { readonly least: number; readonly median: number; readonly most: number };
  /** median over rounds of this side's time / fltac's; null of fltac itself */
  readonly ratio: number | null;
}

/** The same work by several sides. */
export interface BenchWork {
  readonly name: string;
  /** fltac first */
  readonly times: readonly BenchTime[];
}

export interface Bench {
  readonly title: string;
  /** what was measured, on which machine */
  readonly about: string;
  readonly works: readonly BenchWork[];
}

const number = z.number().nonnegative();
const SPREAD = z.object({ least: number, median: number, most: number });
const MACHINE = z.object({ cpu: z.string(), cores: z.number() });

const KMEANS = z.object({
  schema: z.literal(KMEANS_SCHEMA),
  machine: MACHINE.extend({ device: z.string() }),
  settings: z.object({ repeat: z.number() }),
  shapes: z.array(
    z.object({
      shape: z.object({ batch: z.number(), rows: z.number(), columns: z.number(), k: z.number(), nInit: z.number() }),
      results: z.array(z.object({ side: z.string(), milliseconds: SPREAD, ratio: z.number() })),
    }),
  ),
});

const TRAIN = z.object({
  schema: z.literal('fltac.bench.train/1'),
  machine: MACHINE,
  model: z.object({ id: z.string() }),
  work: z.object({
    tasks: z.array(z.string()),
    batchSize: z.number(),
    steps: z.number(),
    adapters: z.number(),
    maxLen: z.number(),
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
  const found = BENCH.safeParse(value);
  if (!found.success) {
    const faults = z.prettifyError(found.error).replaceAll(/\s*\n\s*/g, ' ');
    const expected = 'expected a file that fltac bench kmeans or fltac bench train wrote (--out)';
    throw new FltacError('FORMAT', `${file} is not a measurement: ${expected}; ${faults}`);
  }
  return found.data.schema === KMEANS_SCHEMA ? kmeansBench(found.data) : trainBench(found.data);
}

function kmeansBench({ machine, settings, shapes }: z.infer<typeof KMEANS>): Bench {
  return {
    title: 'K-means',
    about: `whole calls on data in memory, ${settings.repeat} times each in turn; ${machineText(machine)}, ${machine.device}`,
    works: shapes.map(({ shape, results }) => ({
      name:
        `${shape.batch > 1 ? `${shape.batch} x ` : ''}${shape.rows} x ${shape.columns.toLocaleString('en')}, ` +
        `k ${shape.k}, ${shape.nInit} starts`,
      times: results.map(({ side, milliseconds: { least, median, most }, ratio }) => ({
        side,
        seconds: { least: least / 1000, median: median / 1000, most: most / 1000 },
        ratio: side === 'fltac' ? null : ratio,
      })),
    })),
  };
}

const PADDINGS: Readonly<Record<string, string>> = {
  longest: ', padded to the longest',
  max_len: ', padded to max_len',
};

function trainBench({ machine, model, work, sides }: z.infer<typeof TRAIN>): Bench {
  const { adapters, steps, batchSize, maxLen, repeat } = work;
  return {
    title: `Local fine-tuning of ${model.id}`,
    about:
      `${adapters} x ${steps} steps of ${batchSize} rows, at most ${maxLen} tokens, ${repeat} times each in turn; ` +
      machineText(machine),
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

function machineText({ cpu, cores }: z.infer<typeof MACHINE>): string {
  return `${cpu}, ${cores} cores`;
}
