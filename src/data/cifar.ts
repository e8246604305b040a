/** The CIFAR scenario: small photographs of 10 and of 100 classes, from uoft-cs/cifar10 and uoft-cs/cifar100 on the Hub. */
import { join } from 'node:path';
import { NUM_LABELS } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError } from '../errors.js';
import { hubSettings } from './hub/settings.js';
import { shardsOf } from './hub/shards.js';
import { withSnapshot } from './hub/snapshot.js';
import { makeImageTask } from './image-task.js';
import { readParquet } from './parquet.js';
import { readImageInput, type ImageInput } from './preprocessor.js';
import type { DataContext, Provenance, ResolvedModel, Scenario, ScenarioTask } from './scenario.js';
import { checkTable } from './table.js';

const REVISION = 'main';

interface CifarTask {
  repo: string;
  /** folder of the Parquet files */
  folder: string;
  label: string;
  classes: number;
}

const TASKS: Readonly<Record<string, CifarTask>> = {
  cifar10: { repo: 'uoft-cs/cifar10', folder: 'plain_text', label: 'label', classes: 10 },
  cifar100: { repo: 'uoft-cs/cifar100', folder: 'cifar100', label: 'fine_label', classes: 100 },
};

/**
 * Downloads (or finds in the cache) the chosen tasks and makes them ready. The tasks share one head of 100 classes, of
 * which CIFAR-10 uses the first ten. See loadScenario for the errors.
 */
export async function loadCifar(config: RunConfig, model: ResolvedModel, context: DataContext): Promise<Scenario> {
  const unknown = config.tasks.filter((name) => !Object.hasOwn(TASKS, name));
  if (unknown.length > 0) {
    throw new FltacError('USAGE', `cifar has the tasks ${Object.keys(TASKS).join(', ')}, found ${unknown.join(', ')}`);
  }
  const input = await readImageInput(model.folder, context.log);
  const tasks: ScenarioTask[] = [];
  const provenance: Provenance[] = [];
  for (const name of config.tasks) {
    const loaded = await loadTask(name, config, input, context);
    tasks.push(loaded.task);
    provenance.push(loaded.provenance);
  }
  return { name: 'cifar', metric: 'accuracy', tasks, provenance };
}

async function loadTask(
  name: string,
  config: RunConfig,
  input: ImageInput,
  context: DataContext,
): Promise<{ task: ScenarioTask; provenance: Provenance }> {
  const { repo, folder, label, classes } = TASKS[name]!;
  const settings = hubSettings(config.cacheDir);
  return withSnapshot({ type: 'dataset', id: repo }, REVISION, settings, context, async (snapshot) => {
    const listed = await snapshot.list(folder);
    const train = shardsOf(listed, folder, 'train', snapshot);
    const test = shardsOf(listed, folder, 'test', snapshot);
    await snapshot.fetch([...train, ...test]);
    await snapshot.remember();
    const read = (names: readonly string[]) =>
      readParquet(
        names.map((file) => join(snapshot.folder, file)),
        { image: 'img', label },
      );
    const tables = { train: await read(train), evaluation: await read(test) };
    for (const table of Object.values(tables)) checkTable(table, name, classes);
    return {
      task: makeImageTask({ name, numLabels: NUM_LABELS.cifar, ...tables, input, signal: context.signal }),
      provenance: { repo: `datasets/${repo}`, revision: snapshot.commit, files: [...train, ...test] },
    };
  });
}
