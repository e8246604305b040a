import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadConfig, makeConfig } from '../src/config/load.js';
import { SCENARIOS } from '../src/config/scenarios.js';

const FOLDER = fileURLToPath(new URL('../quickstart/', import.meta.url));
const SPLITS = ['train', 'validation'] as const;
const MODEL_FILES = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
const MODEL_LIMIT_BYTES = 4 * 2 ** 20;
const DATA_LIMIT_BYTES = 2 ** 20;

interface Manifest {
  tasks: { name: string; num_labels: number; splits: Record<string, { rows: number; labels: number[] }> }[];
  files: Record<string, { bytes: number; sha256: string }>;
}

interface Row {
  text: string;
  text2?: string;
  label: number;
}

const manifest = JSON.parse(readFileSync(join(FOLDER, 'manifest.json'), 'utf8')) as Manifest;

function readRows(task: string, split: string): Row[] {
  const lines = readFileSync(join(FOLDER, 'data', task, `${split}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as Row);
}

function bytesUnder(folder: string): number {
  const names = readdirSync(join(FOLDER, folder), { recursive: true, encoding: 'utf8' });
  const sizes = names.map((name) => statSync(join(FOLDER, folder, name)));
  return sizes.reduce((total, stat) => total + (stat.isFile() ? stat.size : 0), 0);
}

describe('the bundled quickstart', () => {
  it('has every file of the manifest as make.py wrote it, and no other', () => {
    const names = ['model', 'data'].flatMap((folder) =>
      readdirSync(join(FOLDER, folder), { recursive: true, withFileTypes: true, encoding: 'utf8' })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(FOLDER.length)),
    );
    expect(names.sort()).toEqual(Object.keys(manifest.files).sort());
    for (const [name, { bytes, sha256 }] of Object.entries(manifest.files)) {
      const content = readFileSync(join(FOLDER, name));
      expect({ name, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') }).toEqual({
        name,
        bytes,
        sha256,
      });
    }
    const model = Object.keys(manifest.files).filter((name) => dirname(name) === 'model');
    expect(model.map((name) => name.slice('model/'.length)).sort()).toEqual(MODEL_FILES);
  });

  it('is small enough for a repository: model within 4 MiB, data within 1 MiB', () => {
    expect(bytesUnder('model')).toBeLessThanOrEqual(MODEL_LIMIT_BYTES);
    expect(bytesUnder('data')).toBeLessThanOrEqual(DATA_LIMIT_BYTES);
  });

  it('lists its tasks in the order of the configuration, which the partition seeds follow', () => {
    expect(manifest.tasks.map((task) => task.name)).toEqual(SCENARIOS.quickstart.tasks);
  });

  it('has a config.yaml that says what `fltac train` does without one', () => {
    expect(loadConfig({ file: join(FOLDER, 'config.yaml') }).config).toEqual(makeConfig({ scenario: 'quickstart' }));
  });
});

describe.each(manifest.tasks)('the bundled task $name', ({ name, num_labels, splits }) => {
  const rows = new Map(SPLITS.map((split) => [split, readRows(name, split)]));

  it.each(SPLITS)('has well-formed rows and the label counts of the manifest in %s', (split) => {
    const counts = new Array<number>(num_labels).fill(0);
    const keys = new Set<string>();
    for (const row of rows.get(split) ?? []) {
      keys.add(Object.keys(row).join());
      expect(row.text).toMatch(/^[a-z' ,?.]+$/);
      if (row.text2 !== undefined) expect(row.text2).toMatch(/^[a-z' ,?.]+$/);
      counts[row.label] = (counts[row.label] ?? 0) + 1;
    }
    expect(keys.size).toBe(1);
    expect(['text,label', 'text,text2,label']).toContain([...keys][0]);
    expect({ rows: rows.get(split)?.length, labels: counts }).toEqual(splits[split]);
  });

  it('shows no validation text in training, and no text twice', () => {
    const texts = SPLITS.flatMap((split) => (rows.get(split) ?? []).map((row) => `${row.text}\t${row.text2 ?? ''}`));
    expect(new Set(texts).size).toBe(texts.length);
  });
});
