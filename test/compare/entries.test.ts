import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_ENTRIES, folderName, parseEntries, parseSeeds, planRuns } from '../../src/compare/entries.js';

describe('the methods to compare', () => {
  it('carry config keys of their own after colons', () => {
    expect(parseEntries('fltac, fedit:fedit_steps=full ,fltac:upload_format=int8:lr=1e-3')).toEqual([
      { label: 'fltac', overrides: ['method=fltac'] },
      { label: 'fedit:fedit_steps=full', overrides: ['method=fedit', 'fedit_steps=full'] },
      { label: 'fltac:upload_format=int8:lr=1e-3', overrides: ['method=fltac', 'upload_format=int8', 'lr=1e-3'] },
    ]);
  });

  it('by default show FedIT as published and with all steps, and every other method', () => {
    const methods = parseEntries(DEFAULT_ENTRIES).map(({ label }) => label);
    expect(methods).toEqual([
      ...['none', 'local', 'fedit', 'fedit:fedit_steps=full', 'fltac', 'oracle', 'centralized'],
    ]);
  });

  it.each([
    ['', /found ""/],
    ['fltac,,local', /found ""/],
    ['fltac:int8', /found "fltac:int8"$/],
    ['fltac:seed=3', /found "fltac:seed=3": compare sets seed itself/],
    ['fltac:output_dir=x', /compare sets output_dir itself/],
    ['fltac,local,fltac', /fltac is there twice/],
  ])('"%s" is refused with exit code 2', (text, message) => {
    expect(() => parseEntries(text)).toThrow(message);
    expect(() => parseEntries(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('have folders by their names', () => {
    expect(folderName('fedit:fedit_steps=full')).toBe('fedit+fedit_steps=full');
    expect(folderName('fltac:lr=1e-3')).toBe('fltac+lr=1e-3');
    expect(folderName('../x y')).not.toMatch(/[/ ]/);
  });
});

describe('seeds', () => {
  it('are different whole numbers', () => {
    expect(parseSeeds('42, 0')).toEqual([42, 0]);
    for (const text of ['', '1,1', '1.5', '-1', 'a', '1,']) expect(() => parseSeeds(text)).toThrow(/--seeds: expected/);
  });
});

describe('the planned runs', () => {
  const plan = (methods: string, sources: Parameters<typeof planRuns>[0] = {}) =>
    planRuns({ env: {}, ...sources }, parseEntries(methods), [1, 2], 'out');

  it('are seed by seed, each in a folder of its own, without a baseline beside', () => {
    const { runs } = plan('fltac,fedit:fedit_steps=full');
    expect(runs.map(({ config }) => [config.method, config.seed, config.outputDir])).toEqual([
      ['fltac', 1, path.join('out', 'fltac', 'seed_1')],
      ['fedit', 1, path.join('out', 'fedit+fedit_steps=full', 'seed_1')],
      ['fltac', 2, path.join('out', 'fltac', 'seed_2')],
      ['fedit', 2, path.join('out', 'fedit+fedit_steps=full', 'seed_2')],
    ]);
    expect(new Set(runs.map(({ config }) => config.baselineMethod))).toEqual(new Set(['none']));
    expect(runs.map(({ config }) => config.feditSteps)).toEqual(['published', 'full', 'published', 'full']);
  });

  it("take an entry's own keys before flags and overrides", () => {
    const { runs } = plan('fltac:lr=1,fltac', { overrides: ['lr=2'], flags: { lr: '3', rounds: '7' } });
    expect(runs.slice(0, 2).map(({ config }) => [config.lr, config.rounds])).toEqual([
      [1, 7],
      [3, 7],
    ]);
  });

  it('warn of keys without effect where an entry gives them itself, not where all are given them', () => {
    expect(plan('local:upload_format=int8').warnings).toEqual([
      expect.stringMatching(/^--methods local:upload_format=int8: upload_format=int8 has no effect/),
    ]);
    expect(plan('local,fltac', { overrides: ['upload_format=int8'] }).warnings).toEqual([]);
  });

  it('warn of what compare sets itself, where it was given by hand or names a folder', () => {
    const { warnings } = plan('fltac', { overrides: ['output_dir=mine', 'seed=7'] });
    expect(warnings).toEqual([
      expect.stringMatching(/^--override seed=7 has no effect: compare sets seed itself, by --methods, --seeds/),
      expect.stringMatching(/^--override output_dir=mine has no effect: compare sets output_dir itself/),
    ]);
    expect(plan('fltac', { file: 'configs/glue_bert.yaml' }).warnings).toEqual([]);
  });

  it.each([
    ['fltac,foo', /^--methods foo: method=foo: expected one of .*, found the text "foo"/],
    ['fltac:lr=foo', /^--methods fltac:lr=foo: lr=foo: expected a number above 0, found the text "foo"/],
  ])('of "%s" are refused as they were written', (methods, message) => {
    expect(() => plan(methods)).toThrow(message);
  });

  it.each([
    ['fltac,fedit:tasks=[topic]', /found fltac with sentiment, topic, .* and fedit:tasks=\[topic\] with topic of/],
    ['fltac:tasks=answer,fltac', /fltac:tasks=answer with answer of scenario quickstart and fltac with sentiment/],
    ['fltac,fltac:scenario=glue', /and fltac:scenario=glue with sst2, mrpc, qqp, qnli, rte of scenario glue/],
  ])('of "%s" are refused, since their scores have no common table', (methods, message) => {
    expect(() => plan(methods)).toThrow(message);
    expect(() => plan(methods)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('name the faults of a method or key that is not there', () => {
    expect(() => plan('fedavg')).toThrow(/method: expected one of|method=fedavg: expected one of/);
    expect(() => plan('fltac:upload_formt=int8')).toThrow(/did you mean upload_format\?/);
  });
});
