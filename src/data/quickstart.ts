/** The quickstart scenario: made-up text tasks and a small BERT that come with this package. */
import { join } from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { FltacError } from '../errors.js';
import { bundledTasks, quickstartFolder, type BundledTask } from './bundled.js';
import { readJsonl } from './jsonl.js';
import type { ResolvedModel, Scenario, ScenarioTask } from './scenario.js';
import type { Table } from './table.js';
import { makeTextTask } from './text-task.js';
import { TextTokenizer } from './tokenize.js';

/** Reads the chosen bundled tasks. See loadScenario for the errors. */
export async function loadQuickstart(config: RunConfig, model: ResolvedModel): Promise<Scenario> {
  const tasks = chooseTasks(config.tasks);
  const tokenizer = await TextTokenizer.open(model.folder, config.maxLen);
  const ready = await Promise.all(tasks.map((task) => readTask(task, tokenizer)));
  const files = tasks.flatMap(({ name }) => [splitFile(name, 'train'), splitFile(name, 'validation')]);
  const provenance = [{ repo: 'quickstart', revision: 'local', files }];
  return { name: 'quickstart', metric: 'accuracy', tasks: ready, provenance };
}

function chooseTasks(names: readonly string[]): BundledTask[] {
  const there = new Map(bundledTasks().map((task) => [task.name, task]));
  return names.map((name) => {
    const task = there.get(name);
    if (task) return task;
    throw new FltacError('USAGE', `quickstart has the tasks ${[...there.keys()].join(', ')}, found ${name}`);
  });
}

async function readTask({ name, numLabels }: BundledTask, tokenizer: TextTokenizer): Promise<ScenarioTask> {
  const [train, evaluation] = await Promise.all([readSplit(name, 'train'), readSplit(name, 'validation')]);
  return makeTextTask({ name, numLabels, train, evaluation, tokenizer });
}

/** Rows are {"text", "label"}, or {"text", "text2", "label"} in tasks on pairs. */
async function readSplit(task: string, split: string): Promise<Table> {
  return readJsonl([join(quickstartFolder(), splitFile(task, split))], (first) => ({
    texts: 'text2' in first ? ['text', 'text2'] : ['text'],
    label: 'label',
  }));
}

function splitFile(task: string, split: string): string {
  return `data/${task}/${split}.jsonl`;
}
