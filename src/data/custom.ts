/** The custom scenario: the user's own tasks, from files or any data set on the Hub, by column names. */
import { formOf, type CustomTask, type TaskForm } from '../config/custom-tasks.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError, type ErrorCode } from '../errors.js';
import type { TaskSize } from '../federation/partition.js';
import { CausalTokenizer } from './causal-tokenizer.js';
import { classesOf, numberLabels } from './classes.js';
import type { Columns } from './columns.js';
import { findTaskFiles, type TaskFiles } from './custom-files.js';
import { splitHeldOut } from './held-out.js';
import { HubUnreachable } from './hub/failures.js';
import { makeImageTask } from './image-task.js';
import { makeInstructionTask } from './instruction-task.js';
import type { InstructionRows } from './instructions.js';
import { readImageInput } from './preprocessor.js';
import { readTable } from './read-table.js';
import type { DataContext, Provenance, ResolvedModel, Scenario, ScenarioTask } from './scenario.js';
import { selectTable, type Table } from './table.js';
import { makeTextTask } from './text-task.js';
import { tokenCacheOf } from './token-store.js';
import { TextTokenizer } from './tokenize.js';

/** A task's rows, with labels as class numbers. */
interface TaskRows {
  name: string;
  train: Table;
  evaluation: Table;
  /** 0 where there are no classes */
  classes: number;
  provenance: Provenance;
}

type MakeTask = (rows: TaskRows) => ScenarioTask | Promise<ScenarioTask>;

/** How tasks of each form are made for a model. */
const MAKERS: Readonly<
  Record<TaskForm, (config: RunConfig, model: ResolvedModel, context: DataContext) => Promise<MakeTask>>
> = {
  text: async (config, model, { log }) => {
    const cache = tokenCacheOf(config, log);
    const tokenizer = await TextTokenizer.open(model.folder, config.maxLen);
    return ({ name, train, evaluation, classes }) =>
      makeTextTask({ name, numLabels: classes, train, evaluation, tokenizer, cache });
  },
  image: async (_config, model, context) => {
    const input = await readImageInput(model.folder, context.log);
    return ({ name, train, evaluation, classes }) =>
      makeImageTask({ name, numLabels: classes, train, evaluation, input, signal: context.signal });
  },
  instruction: async (config, model, context) => {
    const cache = tokenCacheOf(config, context.log);
    const tokenizer = await CausalTokenizer.open(model.folder, config.maxLen);
    return ({ name, train, evaluation }) =>
      makeInstructionTask({
        name,
        train: instructionsOf(train),
        evaluation: instructionsOf(evaluation),
        tokenizer,
        cache,
        context,
      });
  },
};

/** Reads the chosen tasks and makes them ready. The faults of all of them are told together. See loadScenario. */
export async function loadCustom(config: RunConfig, model: ResolvedModel, context: DataContext): Promise<Scenario> {
  const form = formOf(specOf(config, config.tasks[0]!));
  const makeTask = await MAKERS[form](config, model, context);
  const all = await readAll(config, context);
  const tasks: ScenarioTask[] = [];
  for (const rows of all) tasks.push(await makeTask(rows));
  return {
    name: 'custom',
    metric: form === 'instruction' ? 'loss' : 'accuracy',
    tasks,
    provenance: all.map(({ provenance }) => provenance),
  };
}

/** Training rows of the chosen tasks, for showing a partition; instructions that max_len leaves out are counted too. */
export async function customTaskSizes(config: RunConfig, context: DataContext): Promise<TaskSize[]> {
  const all = await readAll(config, context);
  return all.map(({ name, train }) => ({ name, rows: train.rows }));
}

function specOf(config: RunConfig, name: string): CustomTask {
  const task = config.data?.[name];
  if (task) return task;
  throw new FltacError(
    'USAGE',
    `the section data has no task ${name}; it has ${Object.keys(config.data ?? {}).join(', ')}`,
  );
}

async function readAll(config: RunConfig, context: DataContext): Promise<TaskRows[]> {
  const faults = new Faults();
  const all: TaskRows[] = [];
  for (const name of config.tasks) {
    // Each further task of the Hub would wait as long again, and in vain.
    if (faults.unreachable && config.data?.[name]?.hub !== undefined) continue;
    const rows = await faults.collect(() => readTask(name, specOf(config, name), config, context, faults));
    if (rows) all.push(rows);
  }
  faults.throw();
  return all;
}

async function readTask(
  name: string,
  task: CustomTask,
  config: RunConfig,
  context: DataContext,
  faults: Faults,
): Promise<TaskRows | undefined> {
  const files = await findTaskFiles(name, task, config, context);
  const train = await faults.collect(() => readPart(name, 'training', files.train, task));
  const { validation } = files;
  const held = validation && (await faults.collect(() => readPart(name, 'validation', validation, task)));
  if (!train || (validation && !held)) return undefined;
  const classes = task.label === undefined ? undefined : classesOf(name, task.classes, train);
  const numbered = (table: Table) => (classes ? numberLabels(name, table, classes) : table);
  const parts = held
    ? { train: await faults.collect(() => numbered(train)), evaluation: await faults.collect(() => numbered(held)) }
    : holdOut(name, numbered(train), task.validation as number, config.seed);
  if (!parts.train || !parts.evaluation) return undefined;
  const names = classes?.names ? ` (${classes.names.map((label, number) => `${number} ${label}`).join(', ')})` : '';
  const counts = `${parts.train.rows} training and ${parts.evaluation.rows} validation rows`;
  context.log.info(`task ${name}: ${counts}${classes ? `, ${classes.count} classes${names}` : ''}`);
  return {
    name,
    train: parts.train,
    evaluation: parts.evaluation,
    classes: classes?.count ?? 0,
    provenance: files.provenance,
  };
}

async function readPart(name: string, part: string, paths: TaskFiles['train'], task: CustomTask): Promise<Table> {
  const table = await readTable(paths, columnsOf(task));
  if (table.rows > 0) return table;
  throw new FltacError('FORMAT', `task ${name}: expected ${part} rows in ${paths.join(', ')}, found none`);
}

function columnsOf({ text, image, label, prompt, context, response }: CustomTask): Columns {
  const texts = typeof text === 'string' ? [text] : (text ?? []);
  return {
    texts: [...texts, ...[prompt, response].filter((name) => name !== undefined)],
    optionalTexts: context === undefined ? [] : [context],
    ...(image !== undefined && { image }),
    ...(label !== undefined && { label, labels: 'names' as const }),
  };
}

/** Splits as `datasets.train_test_split` does. */
function holdOut(name: string, table: Table, share: number, seed: number): { train: Table; evaluation: Table } {
  const split = splitHeldOut(table.rows, share, seed);
  if (split) return { train: selectTable(table, split.train), evaluation: selectTable(table, split.heldOut) };
  throw new FltacError(
    'FORMAT',
    `task ${name}: holding out ${share} of ${table.rows} rows leaves a part empty; give more rows or another share`,
  );
}

/** Columns as columnsOf lists them: prompt, response and, where there is one, context. */
function instructionsOf(table: Table): InstructionRows {
  const [prompts, responses, contexts] = table.texts;
  return {
    length: table.rows,
    get: (row) => ({
      instruction: prompts!.get(row),
      response: responses!.get(row),
      context: contexts?.get(row) ?? '',
    }),
  };
}

/** Kinds of error that lie in what the user gave, so that more of them may follow. */
const COLLECTED: readonly ErrorCode[] = ['USAGE', 'IO', 'FORMAT', 'NETWORK'];

/** What is wrong with the tasks, told together. */
class Faults {
  private readonly errors: FltacError[] = [];

  /** What `step` gives, or undefined where it fails for what the user gave. */
  async collect<T>(step: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof FltacError) || !COLLECTED.includes(error.code)) throw error;
      // What all tasks of the Hub share, such as its address, fails with each of them.
      if (!this.errors.some(({ message }) => message === error.message)) this.errors.push(error);
      return undefined;
    }
  }

  /** Whether the Hub gave no answer to one of them. */
  get unreachable(): boolean {
    return this.errors.some((error) => error instanceof HubUnreachable);
  }

  throw(): void {
    const [first] = this.errors;
    if (!first) return;
    if (this.errors.length === 1) throw first;
    const lines = this.errors.map(({ message }) => `  ${message}`);
    throw new FltacError(first.code, `${lines.length} problems:\n${lines.join('\n')}`, { cause: first });
  }
}
