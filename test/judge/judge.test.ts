import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { judgeAnswers, type JudgeOptions } from '../../src/judge/judge.js';
import { judgeEndpoint } from '../../src/judge/settings.js';
import { temporaryFolder } from '../support/files.js';
import { keptLog } from '../support/hub.js';
import { judgeOf, type JudgeRequest, type JudgeServer } from '../support/judge-server.js';

const KEY = 'secret-key-123';

interface Made {
  answers: string;
  scores: string;
}

/** A file of answers to `rows` rows of two tasks; the answer of row r of task t is "t r". */
function answersOf(rows = 3, tasks = ['open_qa', 'closed_qa']): Made {
  const answers = join(temporaryFolder(), 'answers.jsonl');
  const lines = tasks.flatMap((task) =>
    Array.from({ length: rows }, (_, row) => ({
      ...{ task, row, prompt: `${task} prompt ${row}`, reference: `the secret reference ${row}` },
      ...{ answer: `${task} ${row}`, finished: true, cluster: 0, round: 2 },
    })),
  );
  writeFileSync(answers, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return { answers, scores: answers.replace(/\.jsonl$/, '.scores.jsonl') };
}

interface Asking {
  env?: NodeJS.ProcessEnv;
  log?: ReturnType<typeof keptLog>;
  signal?: AbortSignal;
  timeoutMs?: number;
}

async function judge(server: JudgeServer, made: Made, options: Partial<JudgeOptions> = {}, asking: Asking = {}) {
  const { env = { OPENAI_API_KEY: KEY }, log = keptLog(), signal = new AbortController().signal } = asking;
  const endpoint = {
    ...judgeEndpoint({ baseUrl: server.url, timeoutMs: asking.timeoutMs ?? 5_000 }, env),
    retry: { attempts: 3, baseDelayMs: 5, maxDelayMs: 20, longestWaitMs: 5_000 },
  };
  const defaults = { model: 'judge-1', concurrency: 2, seed: 7, maxTokens: 16 };
  return judgeAnswers({ answers: made.answers, endpoint, ...defaults, ...options }, { log, signal });
}

const scoresOf = (made: Made) =>
  readFileSync(made.scores, 'utf8')
    .trimEnd()
    .split('\n')
    .map(
      (line) =>
        JSON.parse(line) as {
          task: string;
          row: number;
          score: number | null;
          reply: string | null;
          refused: string | null;
        },
    );

/** `open_qa 2` of a request. */
const answerIn = (request: JudgeRequest) => /<answer>\n(.*)\n<\/answer>/.exec(request.text)![1]!;

describe('judging answers', () => {
  it('asks once for each answer and gives means with intervals by task', async () => {
    const server = await judgeOf((request) => (request.text.includes('open_qa') ? '0.25' : 'Score: 1'));
    const made = answersOf();
    const outcome = await judge(server, made);
    expect(outcome).toMatchObject({ path: made.scores, judge: 'judge-1', asked: 6 });
    expect(outcome.tasks).toEqual([
      { task: 'open_qa', answers: 3, scored: 3, unparsable: 0, refused: 0, mean: 0.25, interval: [0.25, 0.25] },
      { task: 'closed_qa', answers: 3, scored: 3, unparsable: 0, refused: 0, mean: 1, interval: [1, 1] },
    ]);
    expect(outcome.all).toMatchObject({ answers: 6, scored: 6, mean: 0.625 });
    expect(outcome.all.interval![0]).toBeLessThan(0.625);
    expect(server.requests.map(answerIn).sort()).toEqual([
      'closed_qa 0',
      'closed_qa 1',
      'closed_qa 2',
      'open_qa 0',
      'open_qa 1',
      'open_qa 2',
    ]);
    const first = scoresOf(made).find(({ task, row }) => task === 'open_qa' && row === 0);
    expect(first).toEqual({
      ...{ task: 'open_qa', row: 0, score: 0.25, reply: '0.25', refused: null },
      answer_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
  });

  it('shows the judge the prompt and the answer, never the reference, with settings that repeat', async () => {
    const server = await judgeOf();
    await judge(server, answersOf(1));
    for (const { method, path, body, text } of server.requests) {
      expect([method, path]).toEqual(['POST', '/v1/chat/completions']);
      expect(body).toMatchObject({ model: 'judge-1', temperature: 0, seed: 7, max_tokens: 16 });
      expect(body.messages.map(({ role }) => role)).toEqual(['system', 'user']);
      expect(text).toMatch(
        /<prompt>\n(open|closed)_qa prompt 0\n<\/prompt>\n\n<answer>\n(open|closed)_qa 0\n<\/answer>/,
      );
      expect(JSON.stringify(body)).not.toContain('secret reference');
    }
    expect(server.requests).toHaveLength(2);
  });

  it('keeps replies without a score as they are, counted and never scored', async () => {
    const replies = ['I like it', '0.5', null, '8/10', '0.75', '0.25'];
    let next = 0;
    const server = await judgeOf(() => replies[next++]!);
    const made = answersOf(6, ['open_qa']);
    const outcome = await judge(server, made, { concurrency: 1 });
    expect(outcome.tasks[0]).toMatchObject({ answers: 6, scored: 3, unparsable: 3, refused: 0, mean: 0.5 });
    expect(scoresOf(made).map(({ score, reply }) => [score, reply])).toEqual([
      [null, 'I like it'],
      [0.5, '0.5'],
      [null, ''],
      [null, '8/10'],
      [0.75, '0.75'],
      [0.25, '0.25'],
    ]);
  });

  it('judges only the tasks asked for, and has at most --concurrency requests open', async () => {
    // Three requests wait for one another: fewer at a time would never end, more would be counted.
    const waiting: ((score: string) => void)[] = [];
    const server = await judgeOf(
      () =>
        new Promise((resolve) => {
          waiting.push(resolve);
          if (waiting.length === 3) for (const answer of waiting.splice(0)) answer('1');
        }),
    );
    const outcome = await judge(server, answersOf(9), { tasks: ['closed_qa'], concurrency: 3 });
    expect(outcome.tasks.map(({ task, scored }) => [task, scored])).toEqual([['closed_qa', 9]]);
    expect(server.mostOpen).toBe(3);
  });
});

describe('a second call', () => {
  it('asks only for what is missing, and drops a line that was cut off', async () => {
    const server = await judgeOf();
    const made = answersOf(4);
    await judge(server, made, { tasks: ['open_qa'] });
    const before = readFileSync(made.scores, 'utf8');
    appendFileSync(made.scores, '{"task":"closed_qa","row":0,"sco');
    server.requests.length = 0;
    const log = keptLog();
    const outcome = await judge(server, made, {}, { log });
    expect(server.requests.map(answerIn).sort()).toEqual(['closed_qa 0', 'closed_qa 1', 'closed_qa 2', 'closed_qa 3']);
    expect(outcome).toMatchObject({ asked: 4, all: { answers: 8, scored: 8 } });
    expect(readFileSync(made.scores, 'utf8').startsWith(before)).toBe(true);
    expect(scoresOf(made)).toHaveLength(8);
    expect(log.lines.join('\n')).toMatch(/ends in the middle of a line[^]*has 4 of 8 scores already/);
    server.requests.length = 0;
    await judge(server, made);
    expect(server.requests).toEqual([]);
  });

  it('after a stop asks only for the rest', async () => {
    const stop = new AbortController();
    const server = await judgeOf(async () => {
      if (server.requests.length >= 5) {
        stop.abort();
        await new Promise(() => undefined);
      }
      return '0.5';
    });
    const made = answersOf(5);
    await expect(judge(server, made, { concurrency: 1 }, { signal: stop.signal })).rejects.toMatchObject({
      code: 'ABORTED',
      message: `stopped: 4 of 10 scores were added to ${made.scores}; the same command asks only for the rest`,
    });
    const done = new Set(scoresOf(made).map(({ task, row }) => `${task} ${row}`));
    expect(done.size).toBe(4);
    await server.close();
    const again = await judgeOf(() => '0.5', Number(new URL(server.url).port));
    const outcome = await judge(again, made);
    expect(outcome).toMatchObject({ asked: 6, all: { answers: 10, scored: 10 } });
    expect(again.requests.map(answerIn).filter((answer) => done.has(answer))).toEqual([]);
  });

  it('with another judge or other answers is refused, unless told to overwrite', async () => {
    const server = await judgeOf();
    const made = answersOf(2);
    await judge(server, made);
    await expect(judge(server, made, { model: 'judge-2' })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /holds scores of other settings:\n {2}judge: "judge-1" there, "judge-2" now\n/,
      ) as string,
    });
    writeFileSync(made.answers, readFileSync(made.answers, 'utf8').replace('"open_qa 1"', '"changed"'));
    await expect(judge(server, made)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('a score of another answer to row 1 of open_qa') as string,
    });
    server.requests.length = 0;
    expect((await judge(server, made, { overwrite: true })).asked).toBe(4);
  });
});

/** Where no answer is waited for in vain: never met, however busy the machine. */
const PATIENT = 60_000;
/** Where the wait is what is tested: long enough for the answers that do come. */
const SILENCE = 2_000;

describe('trouble that passes', () => {
  it.each([
    ['a server error', { status: 500 }, PATIENT],
    ['an overloaded server', { status: 529 }, PATIENT],
    ['a closed connection', { reset: true }, PATIENT],
    ['half a body', { cut: true, body: '{"choices": [{"message"' }, PATIENT],
    ['silence', { hang: true }, SILENCE],
    ['silence within the body', { stall: true }, SILENCE],
    ['a reply that is no JSON', { body: '<html>hello</html>' }, PATIENT],
    ['a reply without choices', { body: '{"choices": []}' }, PATIENT],
  ])('is met by trying again: %s', async (_, fault, timeoutMs) => {
    const server = await judgeOf();
    server.faults.push({ ...fault, times: 2 });
    const made = answersOf(1, ['open_qa']);
    const log = keptLog();
    const outcome = await judge(server, made, {}, { log, timeoutMs });
    expect([outcome.all.scored, server.requests.length]).toEqual([1, 3]);
    expect(log.lines.filter((line) => /^warn: .*; trying again in .* \(try [23] of 3\)$/.test(line))).toHaveLength(2);
  });

  it('waits as long as Retry-After says', async () => {
    const server = await judgeOf();
    server.faults.push({ status: 429, headers: { 'retry-after': '1' } });
    await judge(server, answersOf(1, ['open_qa']));
    const [first, second] = server.requests;
    expect(second!.at - first!.at).toBeGreaterThanOrEqual(990);
  });

  it.each([
    [
      '500s',
      { status: 503, body: '{"error": {"message": "overloaded"}}' },
      /fails to answer \(503\): try again later; it says: overloaded/,
      PATIENT,
    ],
    ['rate limits', { status: 429 }, /asks for fewer requests \(429\): wait, lower --concurrency/, PATIENT],
    [
      'silence',
      { hang: true },
      /gave no whole answer within 2 s, in every try: give it longer with --timeout/,
      SILENCE,
    ],
    [
      'garbage',
      { body: 'hello\nthere' },
      /does not answer as an OpenAI-compatible endpoint \(it says: hello\): check OPENAI_BASE_URL/,
      PATIENT,
    ],
  ])('that stays ends the command, with what was scored kept: %s', async (_, fault, message, timeoutMs) => {
    const server = await judgeOf();
    server.faults.push({ ...fault, match: /open_qa 2/, times: 99 });
    const made = answersOf(3, ['open_qa']);
    const ended = judge(server, made, { concurrency: 1 }, { timeoutMs });
    await expect(ended).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringMatching(message) as string });
    await expect(ended).rejects.toThrow(/: 2 of 3 scores were added to .*; the same command asks only for the rest$/);
    expect(scoresOf(made)).toHaveLength(2);
    expect(server.requests).toHaveLength(5);
  });

  it('does not wait longer than is sensible', async () => {
    const server = await judgeOf();
    server.faults.push({ status: 429, headers: { 'retry-after': '86400' } });
    await expect(judge(server, answersOf(1))).rejects.toMatchObject({ code: 'NETWORK' });
  });
});

describe('trouble that stays', () => {
  it.each([
    [401, {}, 'refuses the OPENAI_API_KEY given (401): set a valid one; it says: no'],
    [401, { env: {} }, 'wants an API key (401): set OPENAI_API_KEY; it says: no'],
    [402, {}, "wants to be paid (402): see to the account's credit; it says: no"],
    [403, {}, 'forbids the request (403): use a key whose account may use model judge-1; it says: no'],
    [
      404,
      {},
      'has no chat completions or no model judge-1 (404): check OPENAI_BASE_URL, which often ends in /v1, and --model; it says: no',
    ],
  ])('ends the command at once: %d', async (status, asking, message) => {
    const server = await judgeOf();
    server.faults.push({ status, body: '{"error": {"message": "no"}}', times: 99 });
    const made = answersOf(3);
    await expect(judge(server, made, { concurrency: 1 }, asking)).rejects.toMatchObject({
      code: 'NETWORK',
      message: `${server.url} ${message}: 0 of 6 scores were added to ${made.scores}; the same command asks only for the rest`,
    });
    expect(server.requests).toHaveLength(1);
  });

  it('stops at once where a 429 means that no credit is left', async () => {
    const server = await judgeOf();
    const body = JSON.stringify({ error: { message: 'You exceeded your quota', code: 'insufficient_quota' } });
    server.faults.push({ status: 429, body, times: 99 });
    await expect(judge(server, answersOf(3), { concurrency: 1 })).rejects.toThrow(/it says: You exceeded your quota/);
    expect(server.requests).toHaveLength(1);
  });

  it('ends at once where nothing listens', async () => {
    const server = await judgeOf();
    await server.close();
    await expect(judge(server, answersOf(1))).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(
        /127\.0\.0\.1:\d+ cannot be reached \(.*ECONNREFUSED.*\): check OPENAI_BASE_URL/,
      ) as string,
    });
  });

  it('lets one refused answer be, where others were judged, and says so', async () => {
    const server = await judgeOf();
    server.faults.push({ status: 400, match: /open_qa 0/, body: '{"error": "context too long"}', times: 99 });
    const made = answersOf(3, ['open_qa']);
    const log = keptLog();
    const outcome = await judge(server, made, { concurrency: 1 }, { log });
    expect(outcome.all).toMatchObject({ answers: 3, scored: 2, unparsable: 0, refused: 1, mean: 0.5 });
    expect(scoresOf(made).at(-1)).toMatchObject({
      ...{ row: 0, score: null, reply: null },
      refused: `${server.url} refuses the request (400); it says: context too long`,
    });
    expect(log.lines.join('\n')).toMatch(/^warn: row 0 of open_qa has no score: .*context too long/m);
  });

  it.each([
    [1, 1],
    [9, 3],
  ])(
    'takes refusals of every answer for a fault of the request: %d answers, %d requests',
    async (answers, requests) => {
      const server = await judgeOf();
      server.faults.push({ status: 400, body: '{"error": {"message": "temperature is not supported"}}', times: 99 });
      const made = answersOf(answers, ['open_qa']);
      await expect(judge(server, made, { concurrency: 1 })).rejects.toThrow(
        /\(400\); it says: temperature is not supported/,
      );
      expect(server.requests).toHaveLength(requests);
      expect(existsSync(made.scores)).toBe(false);
    },
  );
});

describe('the key', () => {
  it('goes to the endpoint, into no file and no message', async () => {
    const server = await judgeOf();
    server.faults.push({ status: 500, body: JSON.stringify({ error: { message: `bad key ${KEY}` } }) });
    server.faults.push({
      status: 401,
      match: /closed_qa/,
      body: JSON.stringify({ message: `bad key ${KEY}` }),
      times: 9,
    });
    const made = answersOf(1);
    const log = keptLog();
    const error: unknown = await judge(server, made, { concurrency: 1 }, { log }).catch((thrown: unknown) => thrown);
    expect(new Set(server.requests.map(({ headers }) => headers.authorization))).toEqual(new Set([`Bearer ${KEY}`]));
    const texts = [
      (error as Error).message,
      ...log.lines,
      readFileSync(made.scores, 'utf8'),
      readFileSync(`${made.scores}.settings.json`, 'utf8'),
    ];
    expect(texts.join('\n')).toContain('bad key ***');
    expect(texts.join('\n')).not.toContain(KEY);
  });

  it('is not sent where there is none', async () => {
    const server = await judgeOf();
    await judge(server, answersOf(1), {}, { env: {} });
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });

  it('goes through no proxy to an endpoint on this machine', async () => {
    const proxy = await judgeOf();
    const server = await judgeOf();
    const http_proxy = new URL(proxy.url).origin;
    await judge(server, answersOf(1), {}, { env: { OPENAI_API_KEY: KEY, http_proxy } });
    expect(server.requests).toHaveLength(2);
    expect(proxy.requests).toEqual([]);
  });

  it('does not follow a redirect', async () => {
    const other = await judgeOf();
    const server = await judgeOf();
    server.faults.push({ status: 307, headers: { location: `${other.url}/chat/completions` }, times: 9 });
    await expect(judge(server, answersOf(1))).rejects.toThrow(
      /redirects \(307\), which is not followed, since the key must not go elsewhere: set OPENAI_BASE_URL to the final address/,
    );
    expect(other.requests).toEqual([]);
  });
});

describe('answers', () => {
  it.each([
    ['', /answers\.jsonl holds no answers/],
    ['{"task": "a", "row": 0, "prompt": "p"}\n', /:1: expected an answer as fltac generate writes it: .*answer/],
    ['{"task": "a", "row": 0, "prompt": "p", "answer": "x"}\n{"task": "a"', /:2: expected a JSON object/],
    [
      '{"task": "a", "row": 0, "prompt": "p", "answer": "x"}\n{"task": "a", "row": 0, "prompt": "p", "answer": "y"}\n',
      /:2: a second answer to row 0 of a/,
    ],
  ])('that cannot be judged are refused before anything is asked: %j', async (text, message) => {
    const server = await judgeOf();
    const made = answersOf();
    writeFileSync(made.answers, text);
    await expect(judge(server, made)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(message) as string,
    });
    expect(server.requests).toEqual([]);
  });

  it('name a task that is not there, and a file that is not there', async () => {
    const server = await judgeOf();
    await expect(judge(server, answersOf(), { tasks: ['sst2'] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/has no task sst2; its tasks are open_qa, closed_qa/) as string,
    });
    await expect(judge(server, { answers: '/nowhere/a.jsonl', scores: '' })).rejects.toMatchObject({ code: 'IO' });
  });
});
