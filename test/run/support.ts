/** A run on made-up tasks with the fake engine, in a temporary folder. */
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { makeConfig, type RunConfig } from '../../src/config/index.js';
import { silentLog, type Log } from '../../src/run/log.js';
import type { RunContext } from '../../src/run/open.js';
import type { TrainContext } from '../../src/run/train.js';
import { FakeEngine, fakeFace } from '../support/fake-engine.js';
import { causalModel } from '../support/causal-model.js';
import { FAKE_WORDS, fakeLanguageTask, fakeTasks, type FakeTask } from '../support/fake-scenario.js';

export const TASK_ROWS = { sst2: 400, mrpc: 300, rte: 200 };

export function fakeConfig(outputDir: string, changes: Partial<RunConfig> = {}): RunConfig {
  const base = {
    scenario: 'glue',
    tasks: Object.keys(TASK_ROWS),
    nClients: 5,
    rounds: 3,
    localSteps: 4,
    report: false,
  } as const;
  return makeConfig({ ...base, lr: 0.02, batchSize: 8, evalEvery: 2, outputDir, ...changes }, {});
}

export interface FakeRun {
  context: RunContext & Pick<TrainContext, 'overwrite' | 'resume'>;
  engine: FakeEngine;
  controller: AbortController;
  lines: string[];
  tasks: FakeTask[];
}

export function fakeRun(changes: Partial<FakeRun['context']> = {}): FakeRun {
  const engine = new FakeEngine();
  const controller = new AbortController();
  const lines: string[] = [];
  const tasks = fakeTasks(TASK_ROWS);
  const note = (message: string) => void lines.push(message);
  const log: Log = { ...silentLog(), info: note, warn: note };
  const context: FakeRun['context'] = {
    log,
    signal: controller.signal,
    parts: {
      face: fakeFace(engine),
      resolveModel: () => Promise.resolve({ folder: 'model', id: 'org/fake', revision: 'abc123' }),
      loadScenario: () => Promise.resolve({ name: 'glue', metric: 'accuracy' as const, tasks, provenance: [] }),
    },
    ...changes,
  };
  return { context, engine, controller, lines, tasks };
}

export const LANGUAGE_ROWS = { closed_qa: 90, open_qa: 120, summarization: 60 };

export function languageConfig(outputDir: string, changes: Partial<RunConfig> = {}): RunConfig {
  const base = {
    scenario: 'dolly',
    tasks: Object.keys(LANGUAGE_ROWS),
    nClients: 4,
    rounds: 2,
    localSteps: 4,
    report: false,
  } as const;
  return makeConfig({ ...base, lr: 0.02, maxEvalBatches: 2, outputDir, ...changes }, {});
}

/** A run of a language model; its tokenizer is a real one, of FAKE_WORDS. */
export function languageRun(changes: Partial<FakeRun['context']> = {}): FakeRun {
  const run = fakeRun(changes);
  const engine = new FakeEngine('next_token');
  const tasks = Object.entries(LANGUAGE_ROWS).map(([name, rows], i) => fakeLanguageTask(name, i + 1, rows));
  const folder = causalModel(FAKE_WORDS, { config: { max_position_embeddings: 512 } });
  run.context.parts = {
    face: fakeFace(engine),
    resolveModel: () => Promise.resolve({ folder, id: 'org/fake-lm', revision: 'abc123' }),
    loadScenario: () => Promise.resolve({ name: 'dolly', metric: 'loss' as const, tasks, provenance: [] }),
  };
  return { ...run, engine, tasks };
}

export type Row = Record<string, unknown>;

export async function readJsonl(file: string): Promise<Row[]> {
  const text = await readFile(file, 'utf8');
  if (!text.endsWith('\n')) throw new Error(`${file} does not end with a newline`);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}

/** Every file below a folder with its text; times, with what is hashed of them, and the record of the machine left out. */
export async function contents(of: string): Promise<Record<string, string>> {
  const entries = await readdir(of, { recursive: true, withFileTypes: true });
  const files: Record<string, string> = {};
  for (const entry of entries.filter((item) => item.isFile() && item.name !== 'environment.json')) {
    const file = path.join(entry.parentPath, entry.name);
    const text = await readFile(file, 'utf8');
    const timeless = TIMELESS[entry.name] ?? ((all: string) => all.replace(SECONDS, '"seconds":0').replaceAll(of, ''));
    files[path.relative(of, file)] = timeless(text);
  }
  return files;
}

const SECONDS = /"seconds":[^,}]+/g;

/** How files that hold hashes of times are compared. */
const TIMELESS: Readonly<Record<string, (text: string) => string>> = {
  'state.json': (text) => JSON.stringify({ ...(JSON.parse(text) as Row), seconds: 0, journals: null }, null, 2),
  'manifest.json': (text) => {
    const { reload, files } = JSON.parse(text) as { reload: Row; files: Record<string, Row> };
    // These hold times, and the folder; what else of them is compared is their content.
    for (const name of ['config.yaml', 'environment.json', 'metrics.jsonl']) files[name] = {};
    return JSON.stringify({ reload, files }, null, 2);
  },
};
