// A run that ends at its first training step (bench/start-up.mjs) or after a round (bench/round-memory.mjs).
// usage: fltac_start.mjs start|round MODEL TASKS CACHE RUN RESULT.json [KEY=VALUE...]
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../dist/config/index.js';
import { loadScenario, resolveModel } from '../../dist/data/scenario.js';
import { trainRun } from '../../dist/run/train.js';
import { memoryOf } from '../lib/memory.mjs';

/** A run of one round of GLUE. */
export function configOf(model, tasks, cache, run, settings = []) {
  const overrides = [`tasks=[${tasks.join(', ')}]`, ...settings];
  const flags = { scenario: 'glue', model_name: model, cache_dir: cache, output_dir: run, rounds: '1' };
  return loadConfig({ file: undefined, overrides, flags, unknownFlags: [], knownFlags: [], env: {} }).config;
}

/** Brings the tasks' files into the cache. */
export async function fetchData(model, tasks, cache) {
  const config = configOf(model, tasks, cache, 'unused');
  const context = {
    log: { info() {}, warn() {}, progress: () => ({ update() {}, done() {} }) },
    signal: new AbortController().signal,
  };
  await loadScenario(config, await resolveModel(config, context), context);
}

async function start([model, tasks, cache, run, result]) {
  const stop = new AbortController();
  const moments = [];
  const seconds = () => performance.now() / 1000;
  const note = (what) => moments.push([what, seconds()]);
  const log = {
    info: (text) => note(text.split('\n')[0]),
    warn: note,
    progress: (title) => {
      note(title);
      return {
        update(done) {
          if (!title.includes('training') || done === 0 || stop.signal.aborted) return;
          note(`step ${done}`);
          writeFileSync(result, JSON.stringify({ seconds: seconds(), moments }));
          stop.abort();
        },
        done() {},
      };
    },
  };
  await trainRun(configOf(model, tasks.split(','), cache, run), { log, signal: stop.signal, overwrite: true }).catch(
    (error) => {
      if (error.code !== 'ABORTED') throw error;
    },
  );
}

async function round([model, tasks, cache, run, , ...settings]) {
  const { seconds } = await trainRun(configOf(model, tasks.split(','), cache, run, settings), { overwrite: true });
  console.log(JSON.stringify({ peakBytes: memoryOf('VmHWM'), seconds }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await { start, round }[process.argv[2]](process.argv.slice(3));
}
