import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { judge } from '../../src/doctor/checks.js';
import { failureOf, x86Level } from '../../src/doctor/facts.js';
import type { DoctorFacts } from '../../src/doctor/facts.js';
import { formatDoctorReport, isHealthy, runDoctor } from '../../src/doctor/index.js';
import type { DoctorCheck } from '../../src/doctor/index.js';
import { listenOn } from '../support/hub.js';

const healthy: DoctorFacts = {
  platform: 'linux',
  arch: 'x64',
  tools: [
    { name: 'Node', ok: true, found: '20.17.0', required: '20.17 or newer', fix: 'get Node' },
    { name: 'CMake', ok: true, found: '3.25.1', required: '3.18 or newer', fix: 'get CMake' },
  ],
  python: undefined,
  libtorch: { kind: 'use', source: '.libtorch', prefix: '/p/.libtorch', version: '2.13.0', cuda: false, notes: [] },
  requiredAbi: 1,
  addon: { state: 'loaded', abiVersion: 1, libtorch: '2.13.0', cuda: false, threads: 2, cpu: 'AVX2' },
  cpu: { model: 'A processor', level: 'AVX2 (x86-64-v3)', cores: 2, ompThreads: undefined },
  memoryBytes: 8e9,
  disk: { folder: '/somewhere', freeBytes: 50e9 },
  hub: { state: 'read', endpoint: 'https://hub.test', cacheDir: '/c', offline: false, token: true, proxy: false },
  quickstart: ['model/config.json', 'model/model.safetensors', 'model/tokenizer.json'],
};

const failures = (facts: Partial<DoctorFacts>): DoctorCheck[] =>
  judge({ ...healthy, ...facts }).filter((check) => !check.ok);
const names = (facts: Partial<DoctorFacts>): string[] => failures(facts).map((check) => check.name);
const noCmake = healthy.tools.map((tool) =>
  tool.name === 'CMake' ? { ...tool, ok: false, found: 'not found' } : tool,
);
const notBuilt = { state: 'failed', reason: 'Could not locate the bindings file' } as const;

describe('the doctor', () => {
  it('finds nothing wrong with a machine that has everything', () => {
    expect(failures({})).toEqual([]);
  });

  it('gives every fault its fix', () => {
    const faults = failures({
      platform: 'win32',
      tools: noCmake,
      libtorch: { kind: 'error', message: 'none was found\n  fix: install' },
      addon: notBuilt,
      memoryBytes: 1e9,
      disk: { folder: '/somewhere', freeBytes: 1e6 },
      hub: { state: 'failed', reason: 'HF_ENDPOINT must be an address' },
      quickstart: [],
    });
    expect(faults.map((check) => check.name)).toEqual([
      'platform', 'CMake', 'Python with pip', 'libtorch', 'native engine', 'memory', 'disk space', 'Hub settings', 'quickstart files',
    ]); // prettier-ignore
    expect(faults.every((check) => (check.fix ?? '') !== '')).toBe(true);
  });

  it('does not ask for build tools or libtorch where the engine is built and loads', () => {
    const install: DoctorFacts['libtorch'] = { kind: 'install', method: 'archive', url: 'u', notes: [] };
    expect(names({ tools: noCmake, libtorch: install })).toEqual([]);
    expect(names({ tools: noCmake, libtorch: install, addon: notBuilt })).toEqual([
      'CMake',
      'libtorch',
      'native engine',
    ]);
  });

  it('refuses an engine with another interface', () => {
    const [fault] = failures({ addon: { ...healthy.addon, abiVersion: 7 } as DoctorFacts['addon'] });
    expect(fault).toMatchObject({ name: 'native engine', fix: 'npx fltac build' });
    expect(fault?.found).toMatch(/interface 7.*; interface 1 is needed/);
  });

  it('says in one sentence that the engine is not built', () => {
    const stderr = 'Error: Could not locate the bindings file. Tried:\n -> /p/build/fltac.node\n';
    expect(failureOf({}, stderr)).toBe('The native engine cannot be loaded: it has not been built');
  });

  it('accepts a Python with pip where libtorch is to be fetched', () => {
    const python = { command: 'python3', version: '3.11', pip: true, torch: undefined };
    const libtorch: DoctorFacts['libtorch'] = { kind: 'install', method: 'pip', python, notes: [] };
    expect(names({ python, libtorch, addon: notBuilt })).toEqual(['libtorch', 'native engine']);
    expect(names({ python: { ...python, pip: false }, libtorch, addon: notBuilt })[0]).toBe('Python with pip');
  });

  it('names the quickstart files that are missing', () => {
    expect(failures({ quickstart: ['model/config.json'] })[0]?.found).toContain('model.safetensors, tokenizer.json');
  });

  it('tells the best instruction set of the processor', () => {
    expect(x86Level('flags\t\t: fpu sse2 avx2 avx512bw\n')).toContain('AVX-512');
    expect(x86Level('flags\t\t: fpu sse2 avx2\n')).toContain('AVX2');
    expect(x86Level('flags\t\t: fpu sse2\n')).toBe('no AVX2');
  });
});

describe('the report', () => {
  it('has one line a check with its fix below, and a verdict', () => {
    const checks = [
      { name: 'CMake', ok: false, found: 'not found', fix: 'get CMake' },
      { name: 'memory', ok: true, found: '8.0 GB' },
    ];
    expect(formatDoctorReport({ checks })).toBe(
      'FAIL  CMake   not found\n              fix: get CMake\nok    memory  8.0 GB\n\n1 of 2 checks failed.',
    );
    expect(formatDoctorReport({ checks: checks.slice(1) })).toContain('Everything is in place.');
  });

  it('is healthy when every check is', () => {
    expect(isHealthy({ checks: judge(healthy) })).toBe(true);
    expect(isHealthy({ checks: judge({ ...healthy, memoryBytes: 0 }) })).toBe(false);
  });

  it('of this machine never shows the token', async () => {
    const report = await runDoctor({ ...process.env, HF_TOKEN: 'hf_secret_value' });
    const text = formatDoctorReport(report);
    expect(text).toContain('token set');
    expect(text).not.toContain('hf_secret_value');
    expect(report.checks.find((check) => check.name === 'Node')).toMatchObject({
      ok: true,
      found: process.versions.node,
    });
  });

  it('of an unreadable setting names the variable, and the rest is still reported', async () => {
    const report = await runDoctor({ ...process.env, HF_ENDPOINT: 'not an address' });
    const hub = report.checks.find((check) => check.name === 'Hub settings');
    expect(hub?.ok).toBe(false);
    expect(hub?.found).toContain('HF_ENDPOINT');
    expect(report.checks.length).toBeGreaterThan(10);
  });
});

describe('the Hub', () => {
  const asked = async (env: NodeJS.ProcessEnv): Promise<DoctorCheck | undefined> =>
    (await runDoctor({ ...process.env, ...env }, { hub: true })).checks.find(({ name }) => name === 'Hub answer');

  it('answers, and takes the token', async () => {
    const page = createServer((_, response) => response.end('{"name": "me"}'));
    const HF_ENDPOINT = await listenOn(page);
    expect(await asked({ HF_ENDPOINT, HF_TOKEN: 'hf_good' })).toMatchObject({
      ok: true,
      found: expect.stringMatching(/^it answers in \d+ ms, and takes the token$/) as string,
    });
  });

  it('refuses the token', async () => {
    const page = createServer(({ headers }, response) => {
      response.statusCode = headers.authorization === 'Bearer hf_bad' ? 401 : 200;
      response.end();
    });
    const HF_ENDPOINT = await listenOn(page);
    const check = await asked({ HF_ENDPOINT, HF_TOKEN: 'hf_bad' });
    expect(check).toMatchObject({ ok: false, found: 'it refuses the token (401)' });
    expect(JSON.stringify(check)).not.toContain('hf_bad');
  });

  it('without a token needs no account', async () => {
    const HF_ENDPOINT = await listenOn(
      createServer((_, response) => {
        response.statusCode = 401;
        response.end();
      }),
    );
    expect(await asked({ HF_ENDPOINT, HF_TOKEN: '' })).toMatchObject({ ok: true });
  });

  it('cannot be reached', async () => {
    const closed = createServer();
    const HF_ENDPOINT = await listenOn(closed);
    await new Promise((resolve) => closed.close(resolve));
    expect(await asked({ HF_ENDPOINT, HF_TOKEN: '' })).toMatchObject({
      ok: false,
      found: expect.stringContaining('ECONNREFUSED') as string,
      fix: expect.stringContaining('HF_HUB_OFFLINE=1') as string,
    });
  });

  it('is not asked where that is not wished, nor with HF_HUB_OFFLINE', async () => {
    const { checks } = await runDoctor({ ...process.env, HF_ENDPOINT: 'http://127.0.0.1:1' });
    expect(checks.map(({ name }) => name)).not.toContain('Hub answer');
    expect(await asked({ HF_ENDPOINT: 'http://127.0.0.1:1', HF_HUB_OFFLINE: '1' })).toBeUndefined();
  });
});
