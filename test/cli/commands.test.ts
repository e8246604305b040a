import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KmeansBenchReport } from '../../src/bench/kmeans-report.js';
import { withDashes } from '../../src/cli/run.js';
import { run, runWith } from './support.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'fltac-cli-'))));
afterAll(() => rmSync(folder, { recursive: true }));

describe('wrong usage', () => {
  it.each([
    [['trian'], /unknown command 'trian'[^]*Did you mean train\?/],
    [['bench', 'kmean'], /unknown command 'kmean'[^]*Did you mean kmeans\?/],
    [['bench', 'kmeans', '--shapes', '12x64'], /--shapes: "12x64" is neither a preset/],
    [['bench', 'kmeans', '--peer', 'sklern'], /--peer sklern: expected "none" or some of sklearn, faiss/],
    [['doctor', '--formt', 'json'], /--formt: is not a flag of this command; did you mean --format\?/],
    [['doctor', '--format', 'xml'], /--format xml: allowed choices are text, json/],
    [['evaluate'], /missing required argument 'run'/],
    [['evaluate', 'x', '--round', '1.5'], /--round 1.5: expected an integer, 0 or more/],
    [['train', '--rounds'], /--rounds <integer>' argument missing/],
    [['train', 'stray'], /stray: is not expected here/],
    [['train', '--scenario', 'custom'], /--scenario: custom needs the section data/],
    [['train', '--resume', 'no-such-folder'], /no-such-folder is not a run's folder: it has no config\.yaml/],
    [['train', '--resume', 'x', '--output-dir', 'y'], /--resume x names the output folder already/],
    [['train', '--config', 'none.yaml'], /none\.yaml: the configuration cannot be read: ENOENT/],
    [['generate'], /missing required argument 'run or model'/],
    [['generate', 'x', '--temperature', 'warm'], /--temperature warm: expected a number, 0 or more/],
    [['generate', 'x', '--top-p', '0'], /--top-p 0: expected a number, above 0 and at most 1/],
    [['generate', 'org/model', '--override', 'max_ln=3'], /max_ln is not a config key; did you mean max_len\?/],
    [['generate', 'org/model', '--override', 'scenario=glue'], /is of scenario glue, which classifies/],
    [['judge', 'a.jsonl'], /--model <name>: is missing, and is needed/],
    [['verify'], /missing required argument 'run'/],
    [['report'], /report needs one or more runs' folders$/m],
    [
      ['report', '--bench', 'k1.json', 'results/run'],
      /--bench takes every word after it \(k1\.json, results\/run\), so name runs first/,
    ],
    [['report', 'no-such-a', 'no-such-b'], /no-such-a is not a run's folder/],
    [['tensorboard', 'no-such-a', 'no-such-b'], /no-such-a is not a run's folder/],
    [['report', 'x', '--format', 'png'], /--format is of the files of --figures <folder>, which is not given/],
    [['report', 'x', '--format', 'gif'], /--format gif: allowed choices are svg, png/],
    [['verify', 'no-such-folder'], /no-such-folder is not a run's folder/],
    [['evaluate', 'no-such-folder'], /no-such-folder is not a run's folder/],
  ])('%j ends with exit code 2, one message on stderr and nothing on stdout', async (argv, message) => {
    const { code, stdout, stderr } = await run(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^fltac: /);
    expect(stderr).not.toContain('    at ');
  });

  it.each([
    [
      ['evaluate', 'x', 'y', '--round', 'one', '--task', 'sst2', '--max-eval-batches', '0'],
      [
        '--task: is not a flag of this command; did you mean --tasks?',
        'y: is not expected here',
        '--round one: expected an integer, 0 or more',
        '--max-eval-batches 0: expected an integer, 1 or more',
      ],
    ],
    [
      ['generate', 'x', '--temperature', '-1', '--top-p=2', '--limit', 'all', '--formatt=json'],
      [
        '--formatt: is not a flag of this command; did you mean --format?',
        '--temperature -1: expected a number, 0 or more',
        '--top-p 2: expected a number, above 0 and at most 1',
        '--limit all: expected an integer, 1 or more',
      ],
    ],
    [
      ['judge', 'a.jsonl', '--concurrency', '0', '--timeout', '0'],
      [
        '--concurrency 0: expected an integer, 1 or more',
        '--timeout 0: expected a number, above 0 and at most 86400',
        '--model <name>: is missing, and is needed',
      ],
    ],
    [
      ['bench', 'kmeans', '--repeat', 'x', '--n-init', '0'],
      ['--repeat x: expected an integer, 1 or more', '--n-init 0: expected an integer, 1 or more'],
    ],
    [
      ['params', '--lora-rank', '0', '--format', 'csv'],
      ['--format csv: allowed choices are text, json', '--lora-rank: expected an integer from 1 to 65536, found 0'],
    ],
    [
      ['study', 'rank', '--ranks', '1,x', '--steps', '0', '--lr', 'x'],
      [
        '--ranks 1,x: expected an integer, 1 or more',
        '--steps 0: expected an integer, 1 or more',
        '--lr: expected a number above 0, found the text "x"',
      ],
    ],
    [
      ['bench', 'train', '--padding', 'foo', '--peer', 'foo', '--shape', 'foo'],
      [
        '--padding foo: expected some of max_len, longest, found foo',
        '--peer foo: expected "none" or some of peft, found foo',
        '--shape foo: allowed choices are bert-base, bert-large, minilm',
      ],
    ],
  ])('%j tells all its faults at once', async (argv, faults) => {
    const { code, stdout, stderr } = await run(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    const lines = stderr.trimEnd().split('\n');
    expect(lines.slice(0, -1)).toEqual([`fltac: ${faults.length} problems:`, ...faults.map((fault) => `  ${fault}`)]);
    expect(lines.at(-1)).toMatch(/[Tt]he flags: fltac [a-z ]+ --help$/);
  });

  it('tells the faults of file, override and flags at once, with the unknown flags', async () => {
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, 'scenario: glue\nn_client: 3\n');
    const argv = ['--config', file, '--override', 'lr=fast', '--n_clients=0', '--roundz', '3', '--max-ln=5', 'stray'];
    const { code, stderr } = await run('train', ...argv);
    expect(code).toBe(2);
    expect(stderr.split('\n').slice(0, -2)).toEqual([
      'fltac: 6 problems:',
      `  ${file}:2: n_client is not a config key; did you mean n_clients?`,
      '  --override lr=fast: expected a number above 0, found the text "fast"',
      '  --roundz: is not a flag of this command; did you mean --rounds?',
      '  --max-ln: is not a flag of this command; did you mean --max-len?',
      '  stray: is not expected here',
      '  --n-clients: expected an integer from 1 to 100000, found 0',
    ]);
  });

  it('sends a flag that another command has to --override', async () => {
    const { stderr } = await run('partition', '--lr', '1');
    expect(stderr).toContain('--lr: is not a flag of this command; give it as --override lr=…');
  });
});

describe('flags', () => {
  it('may be spelt with _ or -', async () => {
    const plain = await run('partition', '--scenario', 'glue', '--n-clients', '3', '--min-frac=0.2');
    const other = await run('partition', '--scenario', 'glue', '--n_clients', '3', '--min_frac=0.2');
    expect(plain.code).toBe(0);
    expect(plain.stdout.trimEnd().split('\n')).toHaveLength(5);
    expect(other).toEqual(plain);
  });

  it('keep the _ of their values, and of what follows --', () => {
    expect(withDashes(['--a_b=c_d', '--a_b', 'c_d', '-a_b', '--', '--e_f'])).toEqual([
      ...['--a-b=c_d', '--a-b', 'c_d', '-a_b', '--', '--e_f'],
    ]);
  });

  it('--override takes several values and may be repeated', async () => {
    const argv = ['--override', 'scenario=glue', 'tasks=rte,sst2', '--override', 'n_clients=2'];
    const { stdout } = await run('partition', ...argv, '--seed', '1');
    expect(stdout.split('\n')[0]).toMatch(/^client +rte +sst2 +total$/);
    expect(stdout.trimEnd().split('\n')).toHaveLength(4);
  });
});

describe('partition', () => {
  const published = `client sst2 mrpc qqp qnli rte total
#0 9765 0 0 4435 1029 15229
#1 15540 263 12764 10121 43 38731
#2 0 536 0 11902 245 12683
#3 9174 131 8855 2208 151 20519
#4 0 2164 31032 5540 518 39254
#5 1669 58 13121 8412 379 23639
#6 5443 71 165334 43650 0 214498
#7 3777 175 0 12879 88 16919
#8 12940 270 132740 5596 36 151582
#9 9041 0 0 0 1 9042
total 67349 3668 363846 104743 2490 542096
`;

  it('prints the published table of glue', async () => {
    const { code, stdout, stderr } = await run('partition', '--scenario', 'glue');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.replaceAll(/ +/g, ' ')).toBe(published);
  });

  it('saves it as CSV and prints it as JSON', async () => {
    const path = join(folder, 'p.csv');
    const { stdout, stderr } = await run('partition', '--scenario', 'glue', '--format', 'json', '--save', path);
    expect(stderr).toBe(`wrote ${path}\n`);
    expect(readFileSync(path, 'utf8')).toBe(published.replaceAll(' ', ',').replaceAll('#', ''));
    const json = JSON.parse(stdout) as { clients: { client: number; rows: Record<string, number>; total: number }[] };
    expect(json.clients[9]).toEqual({ client: 9, rows: { sst2: 9041, mrpc: 0, qqp: 0, qnli: 0, rte: 1 }, total: 9042 });
    expect(json).toMatchObject({ scenario: 'glue', seed: 42, all: { total: 542096 } });
  });

  it.each([
    ['cifar', 'cifar', 'total +50000 +50000 +100000'],
    ['dolly', 'dolly', 'total +1773 +2136 +1773 +673 +2191 +1506 +3742 +1188 +14982'],
  ])('works for %s', async (_, scenario, totals) => {
    const { code, stdout } = await run('partition', '--scenario', scenario);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`\n${totals}\n$`));
  });

  it('fails with exit code 1 where the CSV cannot be written, leaving stdout empty', async () => {
    const { code, stdout, stderr } = await run(
      'partition',
      '--scenario',
      'glue',
      '--save',
      join(folder, 'no', 'p.csv'),
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^fltac: .*p\.csv cannot be written/);
  });
});

describe('params', () => {
  it('prints the published counts of glue with their derivation', async () => {
    const { code, stdout } = await run('params', '--scenario', 'glue');
    expect(code).toBe(0);
    expect(stdout).toContain('192,010 = 5 tasks x (36,864 rank-1 LoRA + 1,538 head)');
    expect(stdout).toContain('614,432 = rank 16 x 38,402 (36,864 rank-1 LoRA + 1,538 head)');
    expect(stdout).toContain('108,311,810 = 108,310,272 bert-base-cased + 1,538 head');
  });
});

describe('train', () => {
  it('announces the quickstart where no scenario is given, and refuses a folder in use before any work', async () => {
    const used = join(folder, 'used');
    mkdirSync(used);
    writeFileSync(join(used, 'thesis.txt'), 'mine');
    const { code, stdout, stderr } = await run('train', '--output-dir', used);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    const [first, second] = stderr.split('\n');
    expect(first).toMatch(
      /^no scenario given: running the quickstart .*fltac train --config configs\/glue_bert\.yaml$/,
    );
    expect(second).toMatch(/^fltac: the output folder .* is not empty \(thesis\.txt\)/);
    const glue = await run('train', '--scenario', 'glue', '--output-dir', used);
    expect(glue.stderr).not.toContain('quickstart');
  });
});

describe('doctor', () => {
  it('prints its checks as JSON, and fails where one of them does', async () => {
    const { code, stdout } = await run('doctor', '--format', 'json');
    const { checks } = JSON.parse(stdout) as { checks: { name: string; ok: boolean; found: string; fix?: string }[] };
    expect(checks.map(({ name }) => name)).toContain('Node');
    expect(code).toBe(checks.every(({ ok }) => ok) ? 0 : 1);
  });
});

describe('bench', () => {
  it('kmeans prints what it measured', async () => {
    const argv = ['--shapes', '12x64x3', '--peer', 'none', '--repeat', '2', '--format', 'json'];
    const { code, stdout } = await run('bench', 'kmeans', ...argv);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as KmeansBenchReport;
    expect(report).toMatchObject({ schema: 'fltac.bench.kmeans/1', settings: { repeat: 2, seed: 42, tol: 1e-4 } });
    expect(report.shapes[0]).toMatchObject({
      shape: { rows: 12, columns: 64, k: 3, nInit: 10 },
      dataBytes: 12 * 64 * 4,
    });
  });
});

describe('FLTAC_DEBUG', () => {
  it('adds the stack to an error', async () => {
    const argv = ['train', '--scenario', 'clue'];
    expect((await runWith({ FLTAC_DEBUG: '1' }, ...argv)).stderr).toContain('    at ');
    expect((await runWith({ FLTAC_DEBUG: '0' }, ...argv)).stderr).not.toContain('    at ');
  });
});
