/** Feeds a parser with damaged inputs: each must end in a value or in one FltacError, soon, and in little memory. */
import { expect } from 'vitest';
import { FltacError, type ErrorCode } from '../../src/errors.js';
import { Draws } from './draws.js';

/** Inputs of one parser; `npm run test:fuzz` asks for 100,000 and more. */
export const INPUTS = Number(process.env['FLTAC_FUZZ_INPUTS'] ?? 400);
export const SEED = Number(process.env['FLTAC_FUZZ_SEED'] ?? 2024);
/** Runs this input alone, as a failure says. */
const ONLY = process.env['FLTAC_FUZZ_INPUT'];

/** Milliseconds that all inputs of a parser may take, on a machine that does much else. */
export const LONG = 6 * 3_600_000;

/** Most CPU time for one input: a few milliseconds are usual. */
const MOST_CPU_MS = 20_000;
/** Most time by the clock, which a busy machine stretches. */
const HANG_MS = 120_000;
/** Most memory that the process may gain over its start, with everything that its garbage collector has not yet let go of. */
const MOST_GROWTH = 1024 * 1024 * 1024;
/** A message is for people, however long the names in a file are: so many lines of so many characters. */
const MOST_LINES = 45;
const LONGEST_LINE = 1_000;

export interface Subject<T> {
  name: string;
  /** one damaged input */
  damage: (draws: Draws) => T;
  /** parses it to its last value */
  read: (input: T) => unknown;
  /** the codes that a damaged input may end with */
  codes: readonly ErrorCode[];
  /** 1 by default; a fraction for parsers that take long for each input */
  share?: number;
}

export interface Outcomes {
  read: number;
  refused: Record<string, number>;
}

export async function fuzz<T>({ name, damage, read, codes, share = 1 }: Subject<T>): Promise<Outcomes> {
  const outcomes: Outcomes = { read: 0, refused: {} };
  const inputs = Math.ceil(INPUTS * share);
  const [first, end] = ONLY === undefined ? [0, inputs] : [Number(ONLY), Number(ONLY) + 1];
  const start = process.memoryUsage.rss();
  let slowest = 0;
  for (let i = first; i < end; i++) {
    const place = `${name}: input ${i} of seed ${SEED} (FLTAC_FUZZ_SEED=${SEED} FLTAC_FUZZ_INPUT=${i})`;
    const input = damage(new Draws(SEED * 1_000_003 + i));
    const began = { clock: performance.now(), cpu: process.cpuUsage() };
    const code = await codeOf(read, input, place);
    const { user, system } = process.cpuUsage(began.cpu);
    const took = { cpu: (user + system) / 1000, clock: performance.now() - began.clock };
    slowest = Math.max(slowest, took.cpu);
    if (took.cpu > MOST_CPU_MS || took.clock > HANG_MS) {
      throw new Error(`${place}: took ${took.cpu.toFixed(0)} ms of CPU time, ${took.clock.toFixed(0)} ms in all`);
    }
    const growth = process.memoryUsage.rss() - start;
    if (growth > MOST_GROWTH) throw new Error(`${place}: the process has grown by ${growth} bytes`);
    if (code === undefined) outcomes.read += 1;
    else if (codes.includes(code)) outcomes.refused[code] = (outcomes.refused[code] ?? 0) + 1;
    else throw new Error(`${place}: ended with code ${code}`);
  }
  const refused = Object.entries(outcomes.refused).map(([code, count]) => `${count} ${code}`);
  const counts = [`${outcomes.read} read`, ...refused].join(', ');
  console.info(
    `${name}: ${end - first} inputs of seed ${SEED}: ${counts}; slowest ${slowest.toFixed(0)} ms of CPU time`,
  );
  if (ONLY === undefined) {
    expect(outcomes.read, `${name}: some damage does not matter`).toBeGreaterThan(0);
    expect(refused.length, `${name}: some damage is noticed`).toBeGreaterThan(0);
  }
  return outcomes;
}

async function codeOf<T>(read: (input: T) => unknown, input: T, place: string): Promise<ErrorCode | undefined> {
  try {
    await read(input);
    return undefined;
  } catch (error) {
    if (!(error instanceof FltacError)) throw new Error(`${place}: ${String(error)}`, { cause: error });
    const lines = error.message.split('\n');
    if (error.message !== '' && lines.length <= MOST_LINES && lines.every((line) => line.length <= LONGEST_LINE)) {
      return error.code;
    }
    throw new Error(`${place}: a message of ${error.message.length} characters: ${error.message.slice(0, 200)}`, {
      cause: error,
    });
  }
}
