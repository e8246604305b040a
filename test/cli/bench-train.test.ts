import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TrainReport } from '../../src/bench/train-report.js';
import { temporaryFolder } from '../support/files.js';
import { run } from './support.js';

const QUICK = ['bench', 'train', '--tasks', 'answer,topic', '--local-steps', '3', '--repeat', '1'];

describe('bench train', () => {
  it.each([
    [['--peer', 'peff'], /--peer peff: expected "none" or some of peft, found peff/],
    [['--padding', 'none'], /--padding none: expected some of max_len, longest, found none/],
    [['--shape', 'bert-huge'], /--shape bert-huge: allowed choices are bert-base, bert-large, minilm/],
    [['--tasks', 'nli'], /quickstart has the tasks .*, found nli/],
    [['--scenario', 'dolly'], /bench train classifies texts, which scenario dolly does not/],
    [['--override', 'tf32=true'], /peer has no TF32: leave tf32 out/],
    [['--scenario', 'cifar'], /bench train classifies texts, which scenario cifar does not/],
    [['--rounds', '3'], /--rounds: is not a flag of this command/],
    [['--out', '/proc/none/x.json'], /cannot be written/],
  ])('with %j ends with one message and measures nothing', async (argv, message) => {
    const { code, stdout, stderr } = await run('bench', 'train', ...argv);
    expect(stdout).toBe('');
    expect(code).not.toBe(0);
    expect(stderr).toMatch(message);
  });

  it("tells the error of fltac's own process in its words", async () => {
    const { code, stderr } = await run(...QUICK, '--override', 'target_modules=[nothing]');
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/nothing/);
    expect(stderr).not.toMatch(/ended early|Node\.js|a fault of fltac/);
  });

  it('measures fltac alone on equal parts of the tasks, and writes what it prints', async () => {
    const out = join(temporaryFolder(), 'report.json');
    const { code, stdout, stderr } = await run(...QUICK, '--adapters', '2', '--format', 'json', '--out', out);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const report = JSON.parse(stdout) as TrainReport;
    expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(report);
    expect(report).toMatchObject({
      schema: 'fltac.bench.train/1',
      model: { id: 'builtin:quickstart', randomWeights: false },
      work: { tasks: ['answer', 'topic'], adapters: 2, steps: 3, batchSize: 16, examples: 96, dtype: 'float32' },
      absent: [],
      agreement: [],
    });
    const [ours, ...others] = report.sides;
    expect(others).toEqual([]);
    expect(ours).toMatchObject({ name: 'fltac', padding: 'none', computedTokens: report.work.tokens, ratio: null });
    expect(ours!.tokensPerSecond).toBeCloseTo(report.work.tokens / ours!.seconds.median);
    // Nothing of the report tells of the machine's folders.
    expect(stdout).not.toContain(process.cwd());
  });

  it.each([
    [
      'without the libraries',
      '#!/bin/sh\necho \'{"absent": "No module named peft"}\'\n',
      /cannot import .*No module named peft/,
    ],
    ['that fails', '#!/bin/sh\necho "Traceback: it broke" >&2\nexit 3\n', /exit code 3\): Traceback: it broke/],
  ])(
    'names a peer with a Python %s as absent before and after it measures, with what to do, and ends with exit code 1',
    async (_, script, reason) => {
      const python = join(temporaryFolder(), 'python');
      writeFileSync(python, script);
      chmodSync(python, 0o755);
      const { code, stdout, stderr } = await run(...QUICK, '--peer', 'peft', '--python', python);
      expect(code).toBe(1);
      expect(stderr.match(/peft is absent: /g)).toHaveLength(1);
      expect(stdout).toMatch(/^fltac +\d/m);
      expect(stdout).toMatch(/^peft is absent: /m);
      expect(stdout).toMatch(reason);
      expect(stdout).toMatch(/-m pip install torch transformers peft/);
    },
  );
});

const python = process.env['FLTAC_PYTHON'] ?? 'python3';
const hasPeft = (() => {
  try {
    execFileSync(python, ['-c', 'import torch, transformers, peft'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

describe.runIf(hasPeft)(
  'bench train beside PEFT (needs torch, transformers, peft; FLTAC_PYTHON names the Python)',
  () => {
    it('finds the losses of 30 steps without dropout equal', async () => {
      const { code, stdout } = await run(
        ...QUICK,
        '--peer',
        'peft',
        '--padding',
        'longest',
        '--python',
        python,
        '--format',
        'json',
      );
      expect(code).toBe(0);
      const { sides, agreement } = JSON.parse(stdout) as TrainReport;
      expect(sides.map(({ name }) => name)).toEqual(['fltac', 'peft']);
      expect(sides[1]!.computedTokens).toBeGreaterThan(sides[0]!.computedTokens);
      expect(agreement[0]).toMatchObject({ steps: 30, agrees: true });
      // Float32 sums in another order: far below the tolerance that longer runs of larger models need.
      expect(agreement[0]!.largestDifference).toBeLessThan(1e-4);
      expect(agreement[0]!.ours[0]).not.toBe(agreement[0]!.ours[29]);
    });
  },
);
