import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { READY_SCENARIOS, SCENARIOS } from '../../src/config/scenarios.js';
import { assertCompatible } from '../../src/run/compatible.js';
import { trainRun } from '../../src/run/train.js';
import { fakeConfig, fakeRun } from './support.js';

const BERT = { family: 'bert', input: 'tokens', output: 'classes' } as const;
const LLAMA = { family: 'llama', input: 'tokens', output: 'next_token' } as const;
const VIT = { family: 'vit', input: 'images', output: 'classes' } as const;

describe('assertCompatible', () => {
  it.each(READY_SCENARIOS.filter((name) => name !== 'custom'))(
    '%s takes the kind of backbone it needs, and no other',
    (scenario) => {
      const suits = [BERT, LLAMA, VIT].filter((info) => {
        try {
          assertCompatible({ scenario, data: null, modelName: 'x' }, info);
          return true;
        } catch {
          return false;
        }
      });
      expect(suits).toHaveLength(1);
      expect(suits[0]).toMatchObject({ input: SCENARIOS[scenario].input, output: SCENARIOS[scenario].output });
    },
  );

  it('says what is needed, what was found and what to do', () => {
    expect(() => assertCompatible({ scenario: 'dolly', data: null, modelName: 'bert-base-uncased' }, BERT)).toThrow(
      'scenario dolly needs a language model, such as huggyllama/llama-7b; model_name bert-base-uncased is a text encoder ' +
        '(bert): choose another model_name or scenario',
    );
    expect(() => assertCompatible({ scenario: 'glue', data: null, modelName: 'org/llama' }, LLAMA)).toThrow(
      'scenario glue needs a text encoder, such as bert-base-uncased; model_name org/llama is a language model (llama)',
    );
  });
});

describe('a run', () => {
  let root: string;
  beforeEach(async () => void (root = await mkdtemp(path.join(os.tmpdir(), 'fltac-compatible-'))));
  afterEach(() => rm(root, { recursive: true }));

  it('with a backbone of the wrong kind ends before data are loaded, leaving nothing', async () => {
    const run = fakeRun();
    const parts = run.context.parts!;
    parts.face.describeArchitecture = () => ({ ...run.engine.info, ...LLAMA });
    parts.resolveModel = (_config, _context, check) => {
      check?.('{}', 'config.json');
      throw new Error('weights would be downloaded here');
    };
    parts.loadScenario = () => Promise.reject(new Error('data would be loaded here'));
    await expect(trainRun(fakeConfig(path.join(root, 'run')), run.context)).rejects.toMatchObject({ code: 'USAGE' });
    expect(await readdir(root)).toEqual([]);
  });
});
