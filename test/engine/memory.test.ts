import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { AdapterBank, Backbone } from '../../src/engine/index.js';
import { SPEC } from '../support/models.js';

const engine = new URL('../../dist/engine/index.js', import.meta.url).href;
const folder = fileURLToPath(new URL('../fixtures/small-bert', import.meta.url));

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
