import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const engine = new URL('../../dist/engine/index.js', import.meta.url).href;
const folder = fileURLToPath(new URL('../fixtures/small-bert', import.meta.url));

interface Ending {
  status: number | null;
  signal: string | null;
  stderr: string;
}

/** A module that starts a long training, and runs `ending` at each report of progress. */
function longTraining(ending: string): string {
  return `
    const { AdapterBank, Backbone, train } = await import(${JSON.stringify(engine)});
    const backbone = await Backbone.load(${JSON.stringify(folder)});
    const spec = { rank: 3, loraAlpha: 16, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: true };
    const bank = new AdapterBank(backbone, spec, 1);
    bank.initialise(0, 1n);
    const steps = 100000;
    const count = steps + 1;
    const sequences = {
      ids: new Int32Array(steps).fill(5),
      offsets: Int32Array.from({ length: count }, (_, i) => i),
      labels: new Int32Array(steps),
    };
    const batches = Int32Array.from({ length: count }, (_, i) => i);
    const running = train(bank, [{ row: 0, examples: sequences, batches, stream: 1n }], { lr: 1e-3, cohort: 1, onProgress });
    running.catch(() => undefined);
    function onProgress() { ${ending} }
  `;
}

/** Runs a module in a process of its own. */
function runProcess(script: string): Ending {
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status: child.status, signal: child.signal, stderr: child.stderr };
}

describe('a process that ends while native code trains', () => {
  it.each([1, 2, 3, 4, 5])('through process.exit leaves with that code, time %i', () => {
    expect(runProcess(longTraining('process.exit(7);'))).toEqual({ status: 7, signal: null, stderr: '' });
  });

  it.each([1, 2, 3])('in a worker that is terminated, and goes on with its own work, time %i', () => {
    const worker = longTraining("parentPort.postMessage('training');");
    const main = `
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      const script = ${JSON.stringify(`import { parentPort } from 'node:worker_threads'; ${worker}`)};
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(script)));
      await once(worker, 'message');
      await worker.terminate();
      const { Backbone } = await import(${JSON.stringify(engine)});
      const backbone = await Backbone.load(${JSON.stringify(folder)});
      process.exitCode = backbone.info.numLayers > 0 ? 7 : 1;
    `;
    expect(runProcess(main)).toEqual({ status: 7, signal: null, stderr: '' });
  });
});
