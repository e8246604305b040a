import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { makeConfig } from '../../src/config/index.js';
import { AdapterBank, Backbone, memoryHeld } from '../../src/engine/index.js';
import { silentLog } from '../../src/run/log.js';
import { trainRun } from '../../src/run/train.js';
import { temporaryFolder } from '../support/files.js';
import { SPEC } from '../support/models.js';

const engine = new URL('../../dist/engine/index.js', import.meta.url).href;
const quickstart = fileURLToPath(new URL('../../quickstart/model', import.meta.url));
const folder = fileURLToPath(new URL('../fixtures/small-bert', import.meta.url));

/** Loads the quickstart's model, trains one of 400 adapters and disposes of it all, in a process of its own; then `body`. */
function cycled(body: string): string {
  const script = `
    const { AdapterBank, Backbone, memoryHeld, setThreads, train } = await import(${JSON.stringify(engine)});
    setThreads(1);
    const spec = { rank: 4, loraAlpha: 16, loraDropout: 0.1, targetModules: ['query'], numLabels: 2, trainHead: true };
    const cycle = async () => {
      const backbone = await Backbone.load(${JSON.stringify(quickstart)});
      const bank = new AdapterBank(backbone, spec, 400);
      bank.initialise(0, 1n);
      const examples = { ids: new Int32Array(128).fill(5), offsets: Int32Array.of(0, 64, 128), labels: new Int32Array(2) };
      await train(bank, [{ row: 0, examples, batches: Int32Array.of(0, 1, 2), stream: 1n }], { lr: 1e-3, cohort: 1 });
      const held = memoryHeld();
      bank.dispose();
      backbone.dispose();
      return held;
    };
    ${body}`;
  const node = ['--expose-gc', '--input-type=module', '--eval', script];
  const child = spawnSync(process.execPath, node, { encoding: 'utf8' });
  expect(child.stderr).toBe('');
  return child.stdout;
}

/** Trains a little in a process of its own, then runs `body`. */
function trained(body: string, limitKib?: number): string {
  const script = `
    import { readFileSync } from 'node:fs';
    const { AdapterBank, Backbone, setThreads, train } = await import(${JSON.stringify(engine)});
    setThreads(1);
    const backbone = await Backbone.load(${JSON.stringify(folder)});
    const spec = { rank: 3, loraAlpha: 16, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: true };
    const bank = new AdapterBank(backbone, spec, 1);
    bank.initialise(0, 1n);
    const step = (sequences) => {
      const examples = {
        ids: new Int32Array(32 * sequences).fill(5),
        offsets: Int32Array.from({ length: sequences + 1 }, (_, i) => 32 * i),
        labels: new Int32Array(sequences),
      };
      const job = { row: 0, examples, batches: Int32Array.of(0, sequences), stream: 1n };
      return train(bank, [job], { lr: 1e-3, cohort: 1 });
    };
    await step(4);
    ${body}`;
  const node = [process.execPath, '--input-type=module', '--eval', script];
  const limited = `ulimit -v ${limitKib ?? 'unlimited'}; exec "$@"`;
  const child = spawnSync('sh', ['-c', limited, 'sh', ...node], { encoding: 'utf8' });
  expect(child.stderr).toBe('');
  return child.stdout;
}

describe('memory that runs out', () => {
  it('for an adapter bank is an OUT_OF_MEMORY error', async () => {
    const backbone = await Backbone.load(folder);
    // More than a process can address, so that no machine begins to fill it.
    const spec = { ...SPEC, targetModules: ['query'], numLabels: 1_000_000, trainHead: true };
    expect(() => new AdapterBank(backbone, spec, 10_000_000)).toThrow(
      expect.objectContaining({ code: 'OUT_OF_MEMORY', message: expect.stringMatching(/memory ran out/) as string }),
    );
    backbone.dispose();
  });

  it.skipIf(process.platform !== 'linux')('in a training step is one too, and leaves adapters and engine sound', () => {
    const size = trained(`console.log(/VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);`);
    const output = trained(
      `const before = bank.get(0);
      const error = await step(20_000).catch((reason) => reason);
      const same = Buffer.from(before.buffer).equals(Buffer.from(bank.get(0).buffer));
      const [{ losses }] = await step(4);
      const again = Number.isFinite(losses[0]);
      console.log(JSON.stringify({ code: error.code, message: error.message, same, again }));`,
      Number(size) + 500_000,
    );
    expect(JSON.parse(output)).toEqual({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(
        /^memory ran out \(\d+ MiB more were asked for\); lower cohort, batch_size.*max_len.*gradient_checkpointing.*dtype/,
      ) as string,
      same: true,
      again: true,
    });
  });
});

describe('memory after dispose', () => {
  it('is what it was, by its own count and by the system, however often a backbone and its bank are made', () => {
    const output = cycled(`
      for (let i = 0; i < 10; i += 1) await cycle();
      gc();
      const start = { rss: process.memoryUsage().rss, held: memoryHeld() };
      const most = [];
      for (let i = 0; i < 30; i += 1) most.push(await cycle());
      gc();
      const end = { rss: process.memoryUsage().rss, held: memoryHeld() };
      console.log(JSON.stringify({ start, end, most: [...new Set(most)] }));`);
    const { start, end, most } = JSON.parse(output) as Record<'start' | 'end', { rss: number; held: number }> & {
      most: number[];
    };
    expect([start.held, end.held]).toEqual([0, 0]);
    expect(most).toHaveLength(1);
    expect(most[0]).toBeGreaterThan(3 * 2 ** 20);
    // Were it not given back, 30 cycles would leave 30 times that: 200 MiB or more.
    expect(end.rss - start.rss).toBeLessThan(10 * most[0]!);
  });

  it('is told to V8, which collects banks that nobody disposed of before they pile up', () => {
    const output = cycled(`
      const backbone = await Backbone.load(${JSON.stringify(quickstart)});
      const start = memoryHeld();
      let bank = new AdapterBank(backbone, spec, 1700);
      const bytes = memoryHeld() - start;
      let most = 0;
      for (let i = 0; i < 100; i += 1) {
        bank = new AdapterBank(backbone, spec, 1700);
        // Handles are let go on the event loop.
        await new Promise((resolve) => setImmediate(resolve));
        most = Math.max(most, memoryHeld() - start);
      }
      console.log(JSON.stringify({ bytes, most }));`);
    const { bytes, most } = JSON.parse(output) as Record<'bytes' | 'most', number>;
    expect(bytes).toBeGreaterThan(8 * 2 ** 20);
    // The JavaScript objects are tiny: without the bytes they stand for, V8 would see no reason to collect any.
    expect(most).toBeLessThan(50 * bytes);
  });
});

describe('memory over rounds', () => {
  it('is held by the backbone and the banks of a run alone: the same after every round, and none at the end', async () => {
    const held: number[] = [];
    const note = (message: string) => message.startsWith('round ') && held.push(memoryHeld());
    const sizes = { tasks: ['sentiment', 'topic'], nClients: 3, rounds: 12, localSteps: 1, batchSize: 2 };
    const rare = { evalEvery: 4, saveEvery: 4, maxEvalBatches: 1, baselineMethod: 'none', threads: 1 } as const;
    const outputDir = join(temporaryFolder(), 'run');
    await trainRun(makeConfig({ scenario: 'quickstart', ...sizes, ...rare, outputDir }, {}), {
      log: { ...silentLog(), info: note },
    });
    expect(held).toHaveLength(12);
    expect(new Set(held).size).toBe(1);
    expect(memoryHeld()).toBe(0);
  });
});

describe('memory of K-means', () => {
  it.skipIf(process.platform !== 'linux')('called again holds no large centroids of the call before', () => {
    const script = `
      import { readFileSync } from 'node:fs';
      const { kmeans } = await import(${JSON.stringify(engine)});
      const peak = () => 1024 * Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
      const sizes = { rows: 9, columns: 2 ** 21, k: 8 };
      const data = Float32Array.from({ length: sizes.rows * sizes.columns }, (_, i) => (i * 7919) % 1009);
      const once = async () => (await kmeans(data, sizes)).centroids.byteLength;
      const bytes = await once();
      const first = peak();
      for (let call = 0; call < 4; call += 1) {
        // A result is let go on the event loop.
        await new Promise((resolve) => setTimeout(resolve, 20));
        await once();
      }
      console.log(JSON.stringify({ bytes, growth: peak() - first }));`;
    const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
    expect(child.stderr).toBe('');
    const { bytes, growth } = JSON.parse(child.stdout) as Record<'bytes' | 'growth', number>;
    expect(bytes).toBe(2 ** 26);
    expect(growth).toBeLessThan(bytes / 2);
  });
});
