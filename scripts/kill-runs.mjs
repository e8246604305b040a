// Kill tests: SIGKILL at seeded random moments of the quickstart (made short), then --resume, then a comparison of every
// file with a run that was not interrupted.
//
//   npm run test:kills -- [--kills 50] [--seed 1] [--rounds 3] [--local-steps 6] [--out FILE.json]
//
// Needs `npm run build`. Prints a line for each kill and a table of the phases; exits 1 where a file differs.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { killRuns } from './faults/kills.mjs';

const { values: options } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    'local-steps': { type: 'string', default: '6' },
    out: { type: 'string' },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'fltac-kills-'));
const started = performance.now();
const kills = await killRuns({
  folder,
  kills: Number(options.kills),
  seed: Number(options.seed),
  arguments: ['--rounds', options.rounds, '--local-steps', options['local-steps']],
  tell: (line) => console.log(line),
});
const different = kills.filter((kill) => kill.differences.length > 0);
const phases = [...new Set(kills.map((kill) => kill.phase))].sort();
console.log(`\n${'killed in'.padEnd(28)}kills  same files after --resume`);
for (const phase of phases) {
  const own = kills.filter((kill) => kill.phase === phase);
  const same = own.filter((kill) => kill.differences.length === 0).length;
  console.log(`${phase.padEnd(28)}${String(own.length).padStart(5)}  ${String(same).padStart(5)}`);
}
const minutes = ((performance.now() - started) / 60_000).toFixed(1);
console.log(`\n${kills.length} kills, ${kills.length - different.length} with the same files, ${minutes} min`);
if (options.out) writeFileSync(options.out, `${JSON.stringify({ options, kills }, null, 2)}\n`);
if (different.length === 0) rmSync(folder, { recursive: true });
else console.log(`what differs is kept in ${folder}`);
process.exitCode = different.length === 0 ? 0 : 1;
