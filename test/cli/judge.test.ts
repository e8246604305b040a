import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../support/files.js';
import { judgeOf, type JudgeServer } from '../support/judge-server.js';
import { runWith } from './support.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

function answersOf(rows: number): { answers: string; scores: string } {
  const folder = temporaryFolder();
  const lines = Array.from({ length: rows }, (_, row) => ({
    task: 'open_qa',
    row,
    prompt: `p ${row}`,
    answer: `a ${row}`,
  }));
  const answers = join(folder, 'answers.jsonl');
  writeFileSync(answers, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return { answers, scores: join(folder, 'answers.scores.jsonl') };
}

const rowIn = (text: string) => Number(/<prompt>\np (\d+)\n/.exec(text)![1]);
const linesOf = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0);

describe('judge', () => {
  it('prints means with intervals, and the same as JSON without asking again', async () => {
    const server = await judgeOf(({ text }) => (rowIn(text) === 3 ? 'fine' : `${rowIn(text) % 2}`));
    const { answers, scores } = answersOf(5);
    const env = { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: 'k' };
    const { code, stdout, stderr } = await runWith(env, 'judge', answers, '--model', 'm', '--concurrency', '1');
    expect(code).toBe(0);
    expect(stdout.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
      'scores by m, from 0 to 1; intervals by bootstrap over the answers',
      '',
      'task mean score 95 % interval answers scored unparsable refused',
      'open_qa 0.250 0.000 to 0.750 5 4 1 0',
      'all answers 0.250 0.000 to 0.750 5 4 1 0',
      '',
    ]);
    expect(stderr).toContain(`the scores are in ${scores}\n`);
    const json = await runWith(env, 'judge', answers, '--model', 'm', '--format', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({ judge: 'm', asked: 0, tasks: [{ task: 'open_qa', mean: 0.25 }] });
    expect(server.requests).toHaveLength(5);
  });

  it('names an answers file that is not there before it asks for a key', async () => {
    const missing = join(temporaryFolder(), 'gone.jsonl');
    const { code, stdout, stderr } = await runWith({}, 'judge', missing, '--model', 'm');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(missing);
    expect(stderr).not.toContain('OPENAI_API_KEY');
  });

  it.each([
    [[], /api\.openai\.com\/v1 needs an API key: set OPENAI_API_KEY/],
    [['--base-url', 'x'], /base URL .* must be an http\(s\) address/],
  ])('with %j is told what the endpoint needs, with exit code 2', async (flags, message) => {
    const { code, stdout, stderr } = await runWith({}, 'judge', answersOf(1).answers, '--model', 'm', ...flags);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });
});

describe('the built command judge', () => {
  beforeAll(() => {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: run npm run build:ts first`);
  });

  /** Starts a judge that answers slowly, and waits until some scores are on disk. */
  async function started(server: JudgeServer, answers: string, scores: string) {
    const argv = [MAIN, 'judge', answers, '--model', 'm', '--concurrency', '2'];
    const env = { ...process.env, OPENAI_BASE_URL: server.url, OPENAI_API_KEY: 'secret' };
    const child: ChildProcess = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    await expect.poll(() => linesOf(scores), { timeout: 30_000, interval: 5 }).toBeGreaterThan(3);
    return { child, ended, stderr: () => stderr };
  }

  it.each([
    ['SIGINT', 130],
    ['SIGKILL', null],
  ] as const)('keeps what was scored when %s ends it, and asks only for the rest', async (signal, code) => {
    const server = await judgeOf(() => new Promise((resolve) => setTimeout(() => resolve('0.5'), 30)));
    const { answers, scores } = answersOf(200);
    const { child, ended, stderr } = await started(server, answers, scores);
    child.kill(signal);
    expect(await ended).toBe(code);
    if (signal === 'SIGINT')
      expect(stderr()).toMatch(/stopped: \d+ of 200 scores were added to .*asks only for the rest/);
    expect(stderr()).not.toContain('secret');
    const kept = readFileSync(scores, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { row: number }).row);
    expect(kept.length).toBeGreaterThan(3);
    expect(kept.length).toBeLessThan(200);
    const quick = await judgeOf(() => '0.5', await freed(server));
    const env = { OPENAI_BASE_URL: quick.url, OPENAI_API_KEY: 'secret' };
    const { code: resumed, stdout } = await runWith(env, 'judge', answers, '--model', 'm', '--format', 'json');
    expect(resumed).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ asked: 200 - kept.length, all: { answers: 200, scored: 200 } });
    const asked = quick.requests.map(({ text }) => rowIn(text));
    expect([...kept, ...asked].sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, row) => row));
  });
});

/** The port of a server that is closed: scores belong to an address. */
async function freed(server: JudgeServer): Promise<number> {
  await server.close();
  return Number(new URL(server.url).port);
}
