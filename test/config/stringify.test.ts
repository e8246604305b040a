import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig, makeConfig, stringifyConfig } from '../../src/config/index.js';
import { CONFIG_KEYS, GROUPS } from '../../src/config/schema.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'fltac-config-'))));
afterAll(() => rmSync(folder, { recursive: true }));

function reload(text: string) {
  const path = join(folder, 'config.yaml');
  writeFileSync(path, text);
  return loadConfig({ file: path, env: { HF_HOME: '/elsewhere' } });
}

it('holds every key once, under the comment lines of the groups', () => {
  const text = stringifyConfig(makeConfig({ scenario: 'glue' }, {}));
  const keys = [...text.matchAll(/^([a-z0-9_]+): /gm)].map(([, key]) => key);
  expect(keys).toEqual(CONFIG_KEYS);
  expect([...text.matchAll(/^# (.*)$/gm)].map(([, title]) => title)).toEqual(Object.values(GROUPS));
});

it('loads back to the identical configuration, without warnings', () => {
  const deviceMap = { embedding: 'cuda:0', 'layers.0-11': 'cpu:1', output: 'cuda:0' };
  for (const config of [
    makeConfig({}, {}),
    makeConfig({ scenario: 'glue', method: 'local' }, {}),
    makeConfig({ scenario: 'glue', method: 'full' }, {}),
    makeConfig({ scenario: 'dolly', method: 'full' }, {}),
    makeConfig({ scenario: 'glue', deviceMap }, {}),
  ]) {
    const again = reload(stringifyConfig(config));
    expect(again.config).toEqual(config);
    expect(again.warnings).toEqual([]);
  }
});

it('loads back identical whatever the numbers and texts are', () => {
  const positive = fc.double({ min: 0, minExcluded: true, noNaN: true, noDefaultInfinity: true });
  const word = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }).filter((text) => /\S/.test(text));
  const changes = fc.record({
    ...{ lr: positive, loraAlpha: positive, weightDecay: positive, seed: fc.maxSafeNat() },
    ...{ modelName: word, outputDir: word, initialAdapter: fc.option(word), trainHead: fc.boolean() },
    targetModules: fc.uniqueArray(word, { minLength: 1, maxLength: 4 }),
    cohort: fc.oneof(fc.constant('auto' as const), fc.integer({ min: 1 })),
  });
  fc.assert(
    fc.property(changes, (values) => {
      const config = makeConfig(values, {});
      expect(reload(stringifyConfig(config)).config).toEqual(config);
    }),
    { numRuns: 200 },
  );
});

it('loads back a text that ends in empty lines', () => {
  const config = makeConfig({ initialAdapter: '¡\n\n', targetModules: ['a\n\n', 'b'] }, {});
  expect(reload(stringifyConfig(config)).config).toEqual(config);
});
