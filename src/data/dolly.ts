/** The Dolly scenario: the categories of databricks/databricks-dolly-15k as tasks of a language model. */
import { join } from 'node:path';
import { SCENARIOS } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError } from '../errors.js';
import { CausalTokenizer } from './causal-tokenizer.js';
import { splitHeldOut } from './held-out.js';
import { hubSettings } from './hub/settings.js';
import { withSnapshot } from './hub/snapshot.js';
import type { HubRepo } from './hub/names.js';
import { makeInstructionTask } from './instruction-task.js';
import { InstructionTableBuilder, selectRows, type InstructionRows } from './instructions.js';
import { readObjects, textOf } from './jsonl.js';
import type { DataContext, ResolvedModel, Scenario, ScenarioTask } from './scenario.js';
import { GrowingArray } from './table.js';
import { tokenCacheOf } from './token-store.js';

const REPO: HubRepo = { type: 'dataset', id: 'databricks/databricks-dolly-15k' };
const REVISION = 'main';
const FILE = 'databricks-dolly-15k.jsonl';
/** share of each category's rows that is held out for evaluation */
const HELD_OUT = 0.05;

/** Downloads (or finds in the cache) the data and makes the chosen categories ready. See loadScenario for the errors. */
export async function loadDolly(config: RunConfig, model: ResolvedModel, context: DataContext): Promise<Scenario> {
  const known = SCENARIOS.dolly.tasks;
  const unknown = config.tasks.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new FltacError('USAGE', `dolly has the tasks ${known.join(', ')}, found ${unknown.join(', ')}`);
  }
  const cache = tokenCacheOf(config, context.log);
  const tokenizer = await CausalTokenizer.open(model.folder, config.maxLen);
  return withSnapshot(REPO, REVISION, hubSettings(config.cacheDir), context, async (snapshot) => {
    if (!(await snapshot.list()).includes(FILE)) {
      const what = `dataset ${REPO.id} at commit ${snapshot.commit}`;
      throw new FltacError('NETWORK', `${what} has no ${FILE}; if only the cache is used, run once with the network`);
    }
    await snapshot.fetch([FILE]);
    await snapshot.remember();
    const path = join(snapshot.folder, FILE);
    const categories = await readCategories(path, known);
    const tasks: ScenarioTask[] = [];
    // One after another: the tokenizer works on all cores by itself.
    for (const name of config.tasks) {
      const parts = splitCategory(categories.get(name)!, { name, path, seed: config.seed });
      tasks.push(await makeInstructionTask({ name, ...parts, tokenizer, cache, context }));
    }
    const provenance = [{ repo: `datasets/${REPO.id}`, revision: snapshot.commit, files: [FILE] }];
    return { name: 'dolly', metric: 'loss', tasks, provenance };
  });
}

/** Each known category's rows, in the order of the file. @throws IO, FORMAT naming the line of a wrong row */
async function readCategories(path: string, known: readonly string[]): Promise<Map<string, InstructionRows>> {
  const table = new InstructionTableBuilder();
  const rows = new Map(known.map((name) => [name, new GrowingArray((length) => new Int32Array(length))]));
  let next = 0;
  for await (const { row, place } of readObjects(path)) {
    const category = textOf(row, 'category', place);
    const own = rows.get(category);
    if (own === undefined) {
      throw new FltacError('FORMAT', `${place}: unknown category "${category}"; known are ${known.join(', ')}`);
    }
    const text = (name: string) => textOf(row, name, place);
    table.append({ instruction: text('instruction'), context: text('context'), response: text('response') });
    own.push(next++);
  }
  const all = table.finish();
  return new Map([...rows].map(([name, own]) => [name, selectRows(all, own.finish())]));
}

/** Each category is split by itself, as `datasets.train_test_split(test_size=0.05, seed=seed)` splits its rows. */
function splitCategory(
  rows: InstructionRows,
  { name, path, seed }: { name: string; path: string; seed: number },
): { train: InstructionRows; evaluation: InstructionRows } {
  const split = splitHeldOut(rows.length, HELD_OUT, seed);
  if (split !== undefined) {
    return { train: selectRows(rows, split.train), evaluation: selectRows(rows, split.heldOut) };
  }
  throw new FltacError('FORMAT', `${path}: expected at least 2 rows of category ${name}, found ${rows.length}`);
}
