import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const engine = new URL('../../dist/engine/index.js', import.meta.url).href;
const folder = fileURLToPath(new URL('../fixtures/small-bert', import.meta.url));

/** Starts a long training in a process of its own, then runs `ending` in it. */
function runProcess(ending: string): { status: number | null; signal: string | null; stderr: string } {
  const script = `
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
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status: child.status, signal: child.signal, stderr: child.stderr };
}

describe('a process that ends while native code trains', () => {
  it.each([1, 2, 3, 4, 5])('through process.exit leaves with that code, time %i', () => {
    expect(runProcess('process.exit(7);')).toEqual({ status: 7, signal: null, stderr: '' });
  });
});
