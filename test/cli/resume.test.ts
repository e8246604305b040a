import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resumeSources } from '../../src/cli/resume.js';
import { loadConfig, makeConfig, stringifyConfig } from '../../src/config/index.js';
import { run } from './support.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fltac-resume-'));
  const config = makeConfig({ scenario: 'glue', lr: 0.125, outputDir: 'elsewhere' }, {});
  writeFileSync(join(folder, 'config.yaml'), stringifyConfig(config));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('--resume', () => {
  it('with a folder takes its config.yaml, wherever the folder is now, and further flags', () => {
    const { sources, resume } = resumeSources({ flags: { rounds: '30' }, env: {} }, folder);
    expect(resume).toBe(true);
    expect(loadConfig(sources).config).toMatchObject({ scenario: 'glue', lr: 0.125, rounds: 30, outputDir: folder });
  });

  it('prefers a configuration file that is given', () => {
    const file = join(folder, 'other.yaml');
    writeFileSync(file, 'scenario: glue\nlr: 0.5\n');
    const { sources } = resumeSources({ file, env: {} }, folder);
    expect(loadConfig(sources).config).toMatchObject({ lr: 0.5, outputDir: folder });
  });

  it.each([
    [undefined, false],
    [true, true],
    ['auto', 'auto'],
  ] as const)('as %s changes no settings', (value, resume) => {
    const sources = { flags: { rounds: '30' } };
    expect(resumeSources(sources, value)).toEqual({ sources, resume });
  });

  it('and --overwrite are refused together', async () => {
    const { code, stderr } = await run('train', '--overwrite', '--resume', 'auto');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "fltac: option '--resume [folder]' cannot be used with option '--overwrite'\n",
    });
  });

  it('is told of in the help', async () => {
    const { stdout } = await run('train', '--help');
    expect(stdout).toContain('--resume [folder]');
    expect(stdout).toContain('fltac train --resume results/glue_fltac');
  });
});
