import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, makeConfig, stringifyConfig } from '../../src/config/index.js';
import type { FltacError } from '../../src/errors.js';
import { temporaryFolder } from '../support/files.js';

function fileOf(data: string): string {
  const path = join(temporaryFolder(), 'c.yaml');
  writeFileSync(path, `scenario: custom\ndata:\n${data.replaceAll(/^/gm, '  ')}\n`);
  return path;
}

const load = (data: string) => loadConfig({ file: fileOf(data), env: {} });

/** The messages about a data section, without the place of the file. */
function faults(data: string): string[] {
  try {
    load(data);
  } catch (error) {
    expect(error).toMatchObject({ code: 'USAGE' });
    const lines = (error as FltacError).message.split('\n').filter((line) => line.includes('c.yaml'));
    return lines.map((line) => line.replace(/^.*c\.yaml:\d+: data: /, ''));
  }
  return [];
}

const TEXT = 'mood: {train: a.csv, validation: 0.1, text: review, label: mark}';

describe('the section data', () => {
  it('names tasks, in the order in which the partition counts them', () => {
    const { config } = load(`b: {train: b.csv, validation: v.csv, text: [x, y], label: l, classes: 3}\n${TEXT}`);
    expect(config.tasks).toEqual(['b', 'mood']);
    expect(config.data).toEqual({
      b: { train: 'b.csv', validation: 'v.csv', text: ['x', 'y'], label: 'l', classes: 3 },
      mood: { train: 'a.csv', validation: 0.1, text: 'review', label: 'mark' },
    });
    expect(Object.isFrozen(config.data!['b']!.text)).toBe(true);
  });

  it('is written to config.yaml so that it reads back the same', () => {
    const { config } = load(
      `${TEXT}\nb: {hub: org/name, subset: s, train: [a.csv, b.csv], validation: test, text: x, label: y, classes: ['1', no]}`,
    );
    const path = join(temporaryFolder(), 'config.yaml');
    writeFileSync(path, stringifyConfig(config));
    expect(loadConfig({ file: path, env: {} }).config).toEqual(config);
  });

  it('can be given as an override and by a program, too', () => {
    const data = { mood: { train: 'a.csv', validation: 0.1, text: 'review', label: 'mark' } };
    const overrides = ['scenario=custom', `data={${TEXT}}`];
    expect(loadConfig({ overrides, env: {} }).config.data).toEqual(data);
    expect(makeConfig({ scenario: 'custom', data }, {}).data).toEqual(data);
  });

  it.each([
    ['texts', TEXT, { modelName: 'bert-base-uncased', targetModules: ['query', 'value'], trainHead: true, lr: 5e-4 }],
    [
      'images',
      'a: {train: a.parquet, validation: b.parquet, image: img, label: l}',
      { modelName: 'google/vit-base-patch16-224-in21k', trainHead: true, lr: 1e-3, batchSize: 64 },
    ],
    [
      'instructions',
      'a: {train: a.jsonl, validation: 0.05, prompt: q, response: r}',
      { modelName: 'huggyllama/llama-7b', targetModules: ['q_proj', 'v_proj'], trainHead: false, loraRank: 8 },
    ],
  ])('of %s brings the defaults of its kind', (_, data, defaults) => {
    expect(load(data).config).toMatchObject(defaults);
  });

  it('tells every fault of every task at once', () => {
    const found = faults(`
a: {train: a.csv, validation: 2, text: [x, y, z], label: l}
b: {trian: a.csv, validation: v.csv, text: x, label: l}
c: {train: [], validation: v.csv, image: x, label: 3, classes: [one, one]}
"d/e": {train: a.csv, validation: v.csv, text: x, label: l}
f: [1]`);
    expect(found).toEqual([
      '"d/e": a task\'s name has letters, digits, "-", "_" and "."',
      'a.validation: expected a file, a list of files, or with hub the name of a split, or the share of the training rows to ' +
        'hold out, above 0 and below 1, found 2',
      'a.text: expected one column, or a list of two that are read as a pair, found the list [x, y, z]',
      'b: train is missing',
      'b.trian: is not a key of a task; did you mean train?',
      'c.train: expected a file, a list of files, or with hub the name of a split, found an empty list',
      'c.label: expected the name of a column, found 3',
      'c.classes: expected a list of 2 to 10000 different classes, or their number, found the list [one, one]',
      'f: expected a mapping of keys to values, found the list [1]',
    ]);
  });

  it.each([
    [
      'no form',
      'a: {train: a.csv, validation: b.csv}',
      /a: expected the columns of one form \(text and label; or .*none/,
    ],
    ['two forms', 'a: {train: a.csv, validation: b.csv, text: x, image: y, label: l}', /found text and image/],
    ['half a form', 'a: {train: a.csv, validation: b.csv, text: x}', /a: label is missing, which goes with text/],
    [
      'a foreign key',
      'a: {train: a, validation: b, prompt: x, response: y, label: l}',
      /a.label: does not go with prompt/,
    ],
    ['a subset of files', 'a: {train: a, validation: b, text: x, label: l, subset: s}', /a.subset: goes with hub only/],
    [
      'a subset that leads out of the data set',
      'a: {hub: org/set, train: a, validation: b, text: x, label: l, subset: ../other}',
      /a.subset: expected the name of a folder inside the data set/,
    ],
    [
      'an id and a revision that cannot be',
      'a: {hub: org/set/x, revision: "a b", train: a, validation: b, text: x, label: l}',
      /a.hub: expected the id of a data set on the Hub.*\n.*a.revision: expected a branch, tag or commit/,
    ],
    [
      'different forms',
      `${TEXT}\nb: {train: a, validation: b, image: x, label: l}`,
      /of one form.*mood \(text\) and b/,
    ],
    [
      'no tasks',
      '{}',
      /expected a mapping of task names to files and columns, or null for none, found an empty mapping/,
    ],
  ])('is refused with %s', (_, data, message) => {
    expect(faults(data).join('\n')).toMatch(message);
  });

  it('is asked for by scenario custom, and without effect elsewhere', () => {
    expect(() => loadConfig({ flags: { scenario: 'custom' }, env: {} })).toThrow(
      '--scenario: custom needs the section data, which names files and columns of each task: docs/custom-tasks.md',
    );
    const { warnings } = loadConfig({ overrides: [`data={${TEXT}}`, 'scenario=glue'], env: {} });
    expect(warnings).toEqual([
      expect.stringMatching(/has no effect: it matters only with scenario custom, not with glue$/) as string,
    ]);
  });

  it('decides which tasks there are', () => {
    const sources = { file: fileOf(TEXT), overrides: ['tasks=[mod]'], env: {} };
    expect(() => loadConfig(sources)).toThrow(
      'expected tasks of scenario custom (mood), found mod; did you mean mood?',
    );
  });
});

describe('max_len', () => {
  it('has no effect on images', () => {
    const { warnings } = loadConfig({ flags: { scenario: 'cifar', max_len: '64' }, env: {} });
    expect(warnings).toEqual(['--max-len has no effect: scenario cifar is of images']);
    expect(loadConfig({ flags: { scenario: 'glue', max_len: '64' }, env: {} }).warnings).toEqual([]);
  });
});
