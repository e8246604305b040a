// How long a run takes from its start to its first training step: with nothing prepared, and with what that start kept.
//
//   node bench/start-up.mjs --model FOLDER --hub FOLDER [--tasks sst2,mrpc,qqp,qnli,rte] [--out FILE.json]
//
// --hub is laid out as scripts/hub-server.mjs serves it (datasets/nyu-mll/glue/...). The files are fetched before the clock
// starts. Each start is a process of its own; it ends at its first training step. Needs `npm run build`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { startHubServer } from '../scripts/hub-server/server.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    hub: { type: 'string' },
    tasks: { type: 'string', default: 'sst2,mrpc,qqp,qnli,rte' },
    out: { type: 'string' },
  },
});
if (!options.model || !options.hub) throw new Error('give --model and --hub; see the head of this file');

const child = fileURLToPath(new URL('peers/fltac_start.mjs', import.meta.url));
const root = mkdtempSync(join(os.tmpdir(), 'fltac-start-'));
const cache = join(root, 'cache');
const report = {
  what: 'seconds from the start of the process to the first training step of a GLUE run, by what had happened when',
  machine: { cpu: os.cpus()[0]?.model, cores: os.availableParallelism(), node: process.version },
  tasks: options.tasks.split(','),
  starts: {},
};

/** One start, and when what had happened in it. */
function start(env) {
  const result = join(root, 'result.json');
  const args = [child, 'start', options.model, options.tasks, cache, join(root, 'run'), result];
  const { status, stderr } = spawnSync(process.execPath, args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the start failed: ${stderr}`);
  return JSON.parse(readFileSync(result, 'utf8'));
}

const server = await startHubServer({ roots: [options.hub], mounts: {}, host: '127.0.0.1', port: 0, cdn: false });
try {
  // spawnSync stops this process's event loop, and with it the server: the files come first, in this process.
  process.env['HF_ENDPOINT'] = server.url;
  const { fetchData } = await import('./peers/fltac_start.mjs');
  await fetchData(options.model, report.tasks, cache);
} finally {
  await server.close();
}
try {
  const offline = { HF_HUB_OFFLINE: '1' };
  report.starts.cold = start(offline);
  report.starts.warm = start(offline);
} finally {
  rmSync(root, { recursive: true, force: true });
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
for (const [name, { seconds, moments }] of Object.entries(report.starts)) {
  console.log(`${name}: first training step after ${seconds.toFixed(1)} s`);
  for (const [what, at] of moments) console.log(`  ${at.toFixed(2).padStart(7)} s  ${what}`);
}
