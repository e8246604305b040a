import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { loadConfig } from '../../src/config/index.js';
import { CONFIG_KEYS } from '../../src/config/schema.js';
import { TextTokenizer } from '../../src/data/tokenize.js';
import { dataFixture, temporaryFolder } from '../support/files.js';
import { damageBytes, type Draws } from './draws.js';
import { LONG, fuzz } from './fuzz.js';
import { JSON_TOKENS, ODD_JSON, damageTokens } from './tokens.js';

const SOUND = [
  'scenario: glue\ntasks: [sst2, rte]\nrounds: 5\nlr: 5.0e-4 # a comment\noutput_dir: "results/x"\ntrain_head: true\n',
  'scenario: custom\ndata:\n  mood:\n    train: a.csv\n    validation: 0.2\n    text: [x, y]\n    label: l\n    classes: 3\n',
  'scenario: cifar\nlora_rank: 4\nseed: 42\ndevice_map:\n  embedding: cpu\n  layers: &all cpu\n  head: *all\n',
];
const YAML_TOKENS = /"(?:[^"\\]|\\.)*"|'[^']*'|[\w./+-]+|\n *|[ \t]+|[^\w\s]/g;
const ODD_YAML = [
  ...['~', 'null', 'true', 'no', '0x10', '0o7', '1_000', '.inf', '-.inf', '.nan', '1e999', '9007199254740993', '-0'],
  ...[
    '&a',
    '*a',
    '*all',
    '<<',
    '<<: *all',
    '!!binary aGk=',
    '!!set {a}',
    '!!js/function x',
    '!!omap [a: 1]',
    '!local x',
  ],
  ...[
    '---',
    '...',
    '%YAML 1.3\n---',
    '? ',
    '- ',
    '| \n  x',
    '> \n  x',
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '#',
    '"',
    "'",
    '\t',
    '\0',
  ],
  ...['&a [*a]', '{a: &b [*b, *b]}', '__proto__', 'constructor', '2024-01-01', '\u{feff}', '\u{2028}', '\r', '@', '`'],
];

function damageYaml(draws: Draws, sound: string): Buffer {
  const text = Buffer.from(damageTokens(draws, sound, YAML_TOKENS, draws.oneIn(4) ? CONFIG_KEYS : ODD_YAML));
  return draws.oneIn(8) ? damageBytes(draws, text) : text;
}

describe('damaged settings', () => {
  it(
    'a YAML file and overrides end in a configuration or in the list of their faults',
    async () => {
      const file = join(temporaryFolder(), 'config.yaml');
      const overrides = [
        'lr=5e-4',
        'tasks=[sst2, rte]',
        'data={a: {train: a.csv, validation: 0.1, text: x, label: l}}',
      ];
      const damage = (draws: Draws) => ({
        file: damageYaml(draws, draws.of(SOUND)),
        override: draws.oneIn(2) ? damageYaml(draws, draws.of(overrides)).toString() : undefined,
      });
      await fuzz({
        name: 'YAML and overrides',
        damage,
        codes: ['USAGE'],
        read: ({ file: text, override }: ReturnType<typeof damage>) => {
          writeFileSync(file, text);
          loadConfig({ file, overrides: override === undefined ? [] : [override], env: {} });
        },
      });
    },
    LONG,
  );

  it(
    "a model's tokenizer.json and config.json end in a tokenizer or one error",
    async () => {
      const folder = temporaryFolder();
      const [tokenizer, config] = ['tokenizer.json', 'config.json'].map((name) =>
        readFileSync(join(dataFixture('tokenizer'), name), 'utf8'),
      );
      const damaged = (draws: Draws, text: string): Buffer => {
        const changed = Buffer.from(damageTokens(draws, text, JSON_TOKENS, ODD_JSON));
        return draws.oneIn(4) ? damageBytes(draws, changed) : changed;
      };
      const damage = (draws: Draws) => ({
        'tokenizer.json': draws.oneIn(5) ? Buffer.from(tokenizer!) : damaged(draws, tokenizer!),
        'config.json': draws.oneIn(2) ? Buffer.from(config!) : damaged(draws, config!),
      });
      await fuzz({
        name: 'tokenizer.json and config.json',
        damage,
        codes: ['FORMAT', 'USAGE'],
        read: async (files: ReturnType<typeof damage>) => {
          for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
          const opened = await TextTokenizer.open(folder, 16);
          await opened.encode([['the red boat', 'a house'], ['']]);
        },
      });
    },
    LONG,
  );
});
