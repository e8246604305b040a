import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import {
  clientShares,
  formatPartitionTable,
  partitionCsv,
  partitionTasks,
  type Partition,
  type PartitionOptions,
  type TaskSize,
} from '../../src/federation/partition.js';
import { Generator } from '../../src/numpy/index.js';
import { allFromHex } from '../support/hex-float.js';
import { numpyFixture, sha256OfInt64 } from '../support/numpy-fixtures.js';
import { describeWithShared, haveShared, sharedPath } from '../support/shared.js';

const GLUE: TaskSize[] = [
  { name: 'sst2', rows: 67349 },
  { name: 'mrpc', rows: 3668 },
  { name: 'qqp', rows: 363846 },
  { name: 'qnli', rows: 104743 },
  { name: 'rte', rows: 2490 },
];
const PUBLISHED: PartitionOptions = { nClients: 10, dirichletAlpha: 0.5, minFrac: 0.01, seed: 42, order: 'listed' };

const PUBLISHED_TABLE = `\
client   sst2  mrpc     qqp    qnli   rte   total
#0       9765     0       0    4435  1029   15229
#1      15540   263   12764   10121    43   38731
#2          0   536       0   11902   245   12683
#3       9174   131    8855    2208   151   20519
#4          0  2164   31032    5540   518   39254
#5       1669    58   13121    8412   379   23639
#6       5443    71  165334   43650     0  214498
#7       3777   175       0   12879    88   16919
#8      12940   270  132740    5596    36  151582
#9       9041     0       0       0     1    9042
total   67349  3668  363846  104743  2490  542096
`;

/** All rows of one task, client after client. */
function column(p: Partition, task: number): Int32Array {
  return Int32Array.from(p.rows.flatMap((row) => [...row[task]!]));
}

describe('partitionTasks', () => {
  interface Case {
    n_clients: number;
    alpha: number;
    min_frac: number;
    seed: number;
    order: 'listed' | 'sorted';
    tasks: { task: string; rows: number; shares: string[]; sizes: number[]; sha256: string }[];
  }
  const { cases } = numpyFixture('partition.json') as { cases: Case[] };

  it.each(cases)('$n_clients clients, alpha $alpha, seed $seed, $order: every row where NumPy puts it', (c) => {
    const options = { nClients: c.n_clients, dirichletAlpha: c.alpha, minFrac: c.min_frac, seed: c.seed };
    const sizes = c.tasks.map(({ task, rows }) => ({ name: task, rows }));
    const p = partitionTasks(sizes, { ...options, order: c.order });
    expect(p.tasks).toEqual(sizes.map((size) => size.name));
    c.tasks.forEach((task, i) => {
      expect(p.rows.map((row) => row[i]!.length)).toEqual(task.sizes);
      expect(sha256OfInt64(column(p, i))).toBe(task.sha256);
    });
    const ranked = c.order === 'listed' ? sizes : [...sizes].sort((a, b) => (a.name < b.name ? -1 : 1));
    c.tasks.forEach((task) => {
      const rng = new Generator(c.seed + ranked.findIndex((size) => size.name === task.task));
      expect([...clientShares(rng, { ...options, order: c.order })]).toEqual(allFromHex(task.shares));
    });
  });

  it('gives every row of every task to exactly one client', () => {
    const options = fc.record({
      nClients: fc.integer({ min: 1, max: 30 }),
      dirichletAlpha: fc.double({ min: 0.01, max: 50, noNaN: true }),
      minFrac: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.nat(),
      order: fc.constantFrom('listed' as const, 'sorted' as const),
    });
    const sizes = fc.uniqueArray(
      fc.record({ name: fc.string({ minLength: 1, maxLength: 6 }), rows: fc.integer({ min: 0, max: 300 }) }),
      { selector: (size) => size.name, maxLength: 5 },
    );
    fc.assert(
      fc.property(sizes, options, (tasks, settings) => {
        const p = partitionTasks(tasks, settings);
        expect(p.rows).toHaveLength(settings.nClients);
        tasks.forEach(({ rows }, i) => {
          expect(column(p, i).sort()).toEqual(Int32Array.from({ length: rows }, (_, row) => row));
        });
      }),
      { numRuns: 300 },
    );
  });

  it('a share below min_frac is taken away, and with no share left all clients get the same', () => {
    const tasks = [{ name: 'a', rows: 1000 }];
    const skewed = partitionTasks(tasks, { ...PUBLISHED, dirichletAlpha: 0.1, minFrac: 0.2 });
    expect(skewed.rows.every(([part]) => part!.length === 0 || part!.length >= 200)).toBe(true);
    const uniform = partitionTasks(tasks, { ...PUBLISHED, nClients: 8, minFrac: 1 });
    expect(uniform.rows.map(([part]) => part!.length)).toEqual(new Array(8).fill(125));
  });

  it('sorted order numbers tasks by code point, as Python does', () => {
    const options = { ...PUBLISHED, order: 'sorted' as const };
    const names = ['\u{1f600}', '\uffee', 'Z', 'a']; // sorted: Z, a, U+FFEE, U+1F600
    const p = partitionTasks(
      names.map((name) => ({ name, rows: 50 })),
      options,
    );
    [3, 2, 0, 1].forEach((number, task) => {
      const alone = partitionTasks([{ name: 'x', rows: 50 }], { ...PUBLISHED, seed: 42 + number });
      expect(p.rows.map((row) => row[task])).toEqual(alone.rows.map((row) => row[0]));
    });
  });

  it('lists every fault of its arguments at once', () => {
    const bad = { nClients: 0, dirichletAlpha: -1, minFrac: 2, seed: 0.5, order: 'listed' as const };
    const call = (): unknown => partitionTasks([{ name: 'a', rows: -1 }], bad);
    expect(call).toThrow(FltacError);
    expect(call).toThrow(/n_clients.*dirichlet_alpha.*min_frac.*seed.*task a/);
    expect(() => partitionTasks([GLUE[0]!, GLUE[0]!], PUBLISHED)).toThrow(/listed twice/);
  });
});

describe('the printed partition', () => {
  it('is the published table for GLUE', () => {
    expect(formatPartitionTable(partitionTasks(GLUE, PUBLISHED))).toBe(PUBLISHED_TABLE);
  });

  it('keeps listed columns when seeds follow the sorted order', () => {
    const table = formatPartitionTable(partitionTasks(GLUE, { ...PUBLISHED, order: 'sorted' }));
    expect(table.split('\n')[0]).toMatch(/^client +sst2 +mrpc +qqp +qnli +rte +total$/);
    expect(table).not.toBe(PUBLISHED_TABLE);
  });

  it('has the same numbers as CSV, with names quoted where they need it', () => {
    const csv = partitionCsv(partitionTasks(GLUE, PUBLISHED)).trimEnd().split('\n');
    const lines = PUBLISHED_TABLE.trimEnd().split('\n');
    expect(csv).toEqual(lines.map((line) => line.replace('#', '').split(/ +/).join(',')));
    const odd = partitionCsv({ tasks: ['a,"b"'], nClients: 1, rows: [[Int32Array.of(0)]] });
    expect(odd).toBe('client,"a,""b""",total\n0,1,1\ntotal,1,1\n');
  });
});

describeWithShared('the reference partitions', () => {
  // A skipped block is still read for its tests, which here need the file.
  if (!haveShared) return;
  interface GoldenCase {
    name: string;
    n_clients: number;
    alpha: number;
    min_frac: number;
    seed: number;
    task_order: 'listed' | 'sorted';
    tasks: {
      task: string;
      rows: number;
      rng_seed: number;
      dirichlet_hex: string[];
      proportions_hex: string[];
      sizes: number[];
      first_10: number[][];
      sha256: string[];
    }[];
  }
  const golden = JSON.parse(readFileSync(sharedPath('golden/partition.json'), 'utf8')) as {
    published: { clients: number[][] };
    cases: GoldenCase[];
  };

  it('the published GLUE table', () => {
    const p = partitionTasks(GLUE, PUBLISHED);
    expect(p.rows.map((row) => row.map((part) => part.length))).toEqual(golden.published.clients);
  });

  it.each(golden.cases)('$name', (c) => {
    const options: PartitionOptions = {
      nClients: c.n_clients,
      dirichletAlpha: c.alpha,
      minFrac: c.min_frac,
      seed: c.seed,
      order: c.task_order,
    };
    // The sorted case lists its tasks sorted; fltac's columns stay as they are listed, so hand them in another order.
    const sizes = c.tasks.map(({ task, rows }) => ({ name: task, rows }));
    const p = partitionTasks(c.task_order === 'sorted' ? sizes.toReversed() : sizes, options);
    for (const task of c.tasks) {
      const rng = new Generator(task.rng_seed);
      const drawn = new Generator(task.rng_seed).dirichlet(new Array<number>(c.n_clients).fill(c.alpha));
      expect([...drawn]).toEqual(allFromHex(task.dirichlet_hex));
      expect([...clientShares(rng, options)]).toEqual(allFromHex(task.proportions_hex));
      const parts = p.rows.map((row) => row[p.tasks.indexOf(task.task)]!);
      expect(parts.map((part) => part.length)).toEqual(task.sizes);
      expect(parts.map((part) => [...part.subarray(0, 10)])).toEqual(task.first_10);
      expect(parts.map(sha256OfInt64)).toEqual(task.sha256);
    }
  });
});
