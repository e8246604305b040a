// Whether a long run grows: 200 rounds of the quickstart's model, memory after each tenth round.
//
//   node --expose-gc bench/memory-rounds.mjs [--rounds 200] [--out FILE.json]
//
// Four clients, two tasks, two local steps a round, an evaluation and saved adapters every tenth round. Needs
// `npm run build`. `held` is what native code holds of backbones and banks; `heap` is JavaScript's after a collection.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeConfig, memoryHeld, trainRun } from '../dist/index.js';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '200' }, out: { type: 'string' } },
});
if (globalThis.gc === undefined) throw new Error('run it with node --expose-gc');
const KIB = 2 ** 10;
const rounds = Number(options.rounds);
const root = mkdtempSync(join(os.tmpdir(), 'fltac-memory-'));
const config = makeConfig(
  {
    ...{ scenario: 'quickstart', tasks: ['sentiment', 'topic'], nClients: 4, rounds, localSteps: 2, batchSize: 4 },
    ...{ evalEvery: 10, saveEvery: 10, maxEvalBatches: 1, baselineMethod: 'none', outputDir: join(root, 'run') },
  },
  {},
);

const samples = [];
function sample(round) {
  globalThis.gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  samples.push({ round, rss: rss / KIB, heap: heapUsed / KIB, external: external / KIB, held: memoryHeld() / KIB });
}

const nothing = () => undefined;
const log = {
  warn: nothing,
  progress: () => ({ update: nothing, done: nothing }),
  info(message) {
    const round = Number(/^round (\d+)\//.exec(message)?.[1] ?? NaN);
    if (round % 10 === 0) sample(round);
  },
};
try {
  await trainRun(config, { log });
} finally {
  rmSync(root, { recursive: true, force: true });
}
sample('after the run');

/** Least-squares growth in KiB a round over the second half, when caches are full. */
function growth(field) {
  const late = samples.filter(({ round }) => round > rounds / 2);
  const mean = (of) => late.reduce((sum, entry) => sum + of(entry), 0) / late.length;
  const x = mean(({ round }) => round);
  const y = mean((entry) => entry[field]);
  const along = late.reduce((sum, entry) => sum + (entry.round - x) * (entry[field] - y), 0);
  return along / late.reduce((sum, entry) => sum + (entry.round - x) ** 2, 0);
}

const fields = ['rss', 'heap', 'external', 'held'];
const growthKib = Object.fromEntries(fields.map((field) => [field, growth(field)]));
for (const { round, ...values } of samples) {
  console.log(`${round}`.padStart(14), fields.map((field) => `${field} ${values[field].toFixed(0)} KiB`).join('  '));
}
console.log(
  `growth a round, rounds ${rounds / 2} to ${rounds}:`,
  fields.map((field) => `${field} ${growthKib[field].toFixed(2)} KiB`).join('  '),
);
const report = { what: 'memory over rounds, KiB', rounds, node: process.versions.node, samples, growthKib };
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
