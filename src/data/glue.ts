/** The GLUE scenario: five sentence tasks of two classes, from nyu-mll/glue on the Hub. */
import { join } from 'node:path';
import { NUM_LABELS } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError } from '../errors.js';
import { hubSettings } from './hub/settings.js';
import { shardsOf } from './hub/shards.js';
import { withSnapshot, type Snapshot } from './hub/snapshot.js';
import type { HubRepo } from './hub/names.js';
import { readParquet } from './parquet.js';
import type { DataContext, ResolvedModel, Scenario, ScenarioTask } from './scenario.js';
import { makeTextTask, type TextTaskOptions } from './text-task.js';
import { tokenCacheOf } from './token-store.js';
import { TextTokenizer } from './tokenize.js';

const REPO: HubRepo = { type: 'dataset', id: 'nyu-mll/glue' };
const REVISION = 'main';

/** Text columns of each task, in the order they are tokenised. */
const TASK_TEXTS: Readonly<Record<string, readonly string[]>> = {
  sst2: ['sentence'],
  mrpc: ['sentence1', 'sentence2'],
  qqp: ['question1', 'question2'],
  qnli: ['question', 'sentence'],
  rte: ['sentence1', 'sentence2'],
};

/** A task's Parquet files, relative to the snapshot. */
interface TaskFiles {
  name: string;
  train: string[];
  validation: string[];
}

/** Downloads (or finds in the cache) the chosen tasks and makes them ready. See loadScenario for the errors. */
export async function loadGlue(config: RunConfig, model: ResolvedModel, context: DataContext): Promise<Scenario> {
  const unknown = config.tasks.filter((name) => !Object.hasOwn(TASK_TEXTS, name));
  if (unknown.length > 0) {
    throw new FltacError(
      'USAGE',
      `glue has the tasks ${Object.keys(TASK_TEXTS).join(', ')}, found ${unknown.join(', ')}`,
    );
  }
  const tokenizer = await TextTokenizer.open(model.folder, config.maxLen);
  const cache = tokenCacheOf(config, context.log);
  const settings = hubSettings(config.cacheDir);
  return withSnapshot(REPO, REVISION, settings, context, async (snapshot) => {
    const files = await findTaskFiles(snapshot, config.tasks);
    const names = files.flatMap(({ train, validation }) => [...train, ...validation]);
    await snapshot.fetch(names);
    await snapshot.remember();
    const tasks: ScenarioTask[] = [];
    // One after another: a table being read is the largest thing in memory.
    for (const task of files) tasks.push(await readTask(task, snapshot.folder, { tokenizer, cache }));
    const provenance = [{ repo: `datasets/${REPO.id}`, revision: snapshot.commit, files: names }];
    return { name: 'glue', metric: 'accuracy', tasks, provenance };
  });
}

async function findTaskFiles(snapshot: Snapshot, tasks: readonly string[]): Promise<TaskFiles[]> {
  const found: TaskFiles[] = [];
  for (const name of tasks) {
    const listed = await snapshot.list(name);
    found.push({
      name,
      train: shardsOf(listed, name, 'train', snapshot),
      validation: shardsOf(listed, name, 'validation', snapshot),
    });
  }
  return found;
}

async function readTask(
  files: TaskFiles,
  folder: string,
  tokens: Pick<TextTaskOptions, 'tokenizer' | 'cache'>,
): Promise<ScenarioTask> {
  const columns = { texts: TASK_TEXTS[files.name] ?? [], label: 'label' };
  const read = (names: readonly string[]) =>
    readParquet(
      names.map((name) => join(folder, name)),
      columns,
    );
  const train = await read(files.train);
  const evaluation = await read(files.validation);
  return makeTextTask({ name: files.name, numLabels: NUM_LABELS.glue, train, evaluation, ...tokens });
}
