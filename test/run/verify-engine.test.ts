import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readArchive, writeArchive } from '../../src/engine/index.js';
import type { ArchiveDict, ArchiveTensor } from '../../src/engine/types.js';
import type { VerifyOutcome } from '../../src/run/verify/index.js';
import { run } from '../cli/support.js';

let folder: string;
const at = (name: string) => join(folder, 'run', name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fltac-verify-'));
  const settings = ['baseline_method=none', 'save_submissions=true', 'max_eval_batches=1', 'threads=1'];
  const sizes = ['--rounds', '2', '--local-steps', '2', '--batch-size', '4', '--eval-every', '1'];
  const { code, stderr } = await run('train', ...sizes, '--override', ...settings, '--output-dir', at(''));
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

async function verify(...flags: string[]): Promise<{ code: number; lines: string[] }> {
  const { code, stdout } = await run('verify', at(''), '--format', 'json', ...flags);
  const { findings } = JSON.parse(stdout) as VerifyOutcome;
  return { code, lines: findings.map(({ check, status, detail }) => `${status} ${check}: ${detail}`) };
}

/** Puts a file back after a test has changed it. */
async function withFile(name: string, work: () => Promise<unknown>): Promise<void> {
  const bytes = readFileSync(at(name));
  try {
    await work();
  } finally {
    writeFileSync(at(name), bytes);
  }
}

describe('verify on a run of the quickstart', () => {
  it('passes every check, and evaluates to the same digits', async () => {
    const { code, lines } = await verify('--evaluate');
    expect(lines.filter((line) => !line.startsWith('pass'))).toEqual([]);
    expect(code).toBe(0);
    expect(lines.at(-1)).toBe('pass metrics, evaluated anew: 12 metrics and losses, equal in every digit');
  });

  it('fails with exit code 1 for a round file cut off at any of 16 places, and reads on', async () => {
    const name = 'adapters_round_2.pt';
    const size = readFileSync(at(name)).length;
    for (let part = 0; part < 16; part += 1) {
      await withFile(name, async () => {
        truncateSync(at(name), Math.floor((size * part) / 16));
        const { code, lines } = await verify();
        expect(code).toBe(1);
        expect(lines).toContainEqual(expect.stringMatching(/^fail round files: .*adapters_round_2\.pt/) as string);
        expect(lines).toContainEqual(expect.stringMatching(/^pass assignments/) as string);
      });
    }
  });

  it('names a zeroed layer in a rewritten .pt', async () => {
    const name = 'adapters_round_1.pt';
    await withFile(name, async () => {
      const value = (await readArchive(at(name))) as ArchiveDict;
      const states = value.get('cluster_states') as ReadonlyMap<number, ReadonlyMap<string, ArchiveTensor>>;
      const layer = 'base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.default.weight';
      states.get(0)!.get(layer)!.data.fill(0);
      await writeArchive(at(name), value);
      const { lines } = await verify();
      expect(lines).toContainEqual(
        expect.stringContaining(`fail training: ${name}: ${layer} of cluster 0 is all zeros`),
      );
      expect(lines).toContainEqual(expect.stringMatching(/^fail aggregates: round 1, cluster 0/) as string);
    });
  });

  it('prints a line for each check, and one for all', async () => {
    const { stdout } = await run('verify', at(''));
    expect(stdout).toMatch(
      /^pass {2}manifest +\d+ files have their size and SHA-256\n(pass {2}.*\n)+\n.*: 13 checks passed, 0 skipped\n$/,
    );
  });

  it('passes one of single steps without weight decay, in which A met a zero B and stayed', async () => {
    const short = join(folder, 'short');
    const sizes = ['--rounds', '2', '--local-steps', '1', '--batch-size', '4', '--n-clients', '3'];
    const settings = ['weight_decay=0', 'baseline_method=none', 'max_eval_batches=1', 'threads=1', 'report=false'];
    const { code, stderr } = await run('train', ...sizes, '--override', ...settings, '--output-dir', short);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect((await run('verify', short)).stdout).not.toContain('FAIL');
  });
});
