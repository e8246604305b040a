import { describe, expect, it } from 'vitest';
import { exportRun } from '../../src/export/export.js';
import { evaluateRun } from '../../src/run/evaluate.js';
import { silentLog } from '../../src/run/log.js';
import { openFederation } from '../../src/run/open-federation.js';
import { trainRun } from '../../src/run/train.js';
import { verifyRun } from '../../src/run/verify/index.js';
import { studyRank } from '../../src/study/rank.js';
import { loadConfig } from '../../src/config/index.js';

/** As a program without types calls it. */
type Untyped = (...args: unknown[]) => Promise<unknown>;

const context = { log: silentLog(), signal: new AbortController().signal };

async function refusal(entry: unknown, ...args: unknown[]): Promise<string> {
  const error: unknown = await (entry as Untyped)(...args).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: 'FltacError', code: 'USAGE' });
  return (error as Error).message;
}

describe.each(Object.entries({ trainRun, openFederation, studyRank }))('%s', (name, entry) => {
  it('takes a configuration and says where one comes from', async () => {
    expect(await refusal(entry, loadConfig({ env: {} }))).toBe(
      `${name}: expected a configuration, as makeConfig({ … }) or loadConfig({ … }).config gives it, found what loadConfig ` +
        'returns: give its .config',
    );
    expect(await refusal(entry, 'c.yaml')).toContain('found the text "c.yaml"');
    expect(await refusal(entry, { scenario: 'glue' })).toContain('found a mapping');
  });
});

describe.each(Object.entries({ evaluateRun, verifyRun, exportRun }))('%s', (name, entry) => {
  it('takes the folder in its options, and a log and a signal', async () => {
    expect(await refusal(entry, 'nope', context)).toBe(
      `${name}: expected options with a run's folder, as { folder: 'results/glue_fltac' }, found the text "nope"`,
    );
    expect(await refusal(entry, { folder: 'nope' })).toMatch(/: expected \{ log, signal \} as second argument, as /);
    expect(await refusal(entry, { folder: '/nope' }, context)).not.toContain('expected { log');
  });
});
