/** Config keys: what is trained, and how. */
import { customData } from '../custom-tasks.js';
import { names, oneOf, text } from '../kinds.js';
import { FLAG, FREE_KEY, KEY, derived, rowsOf } from '../row.js';
import { READY_SCENARIOS, scenarioRow } from '../scenarios.js';

const key = rowsOf('task');

export const TASK_KEYS = {
  scenario: key({
    ...FLAG,
    kind: oneOf(READY_SCENARIOS),
    default: 'quickstart',
    meaning: 'tasks, data and backbone to use',
    alsoCalled: ['dataset'],
  }),
  model_name: key({
    ...FLAG,
    kind: text('a Hub id such as org/name, or a local folder', 'id|folder'),
    default: 'bert-base-uncased',
    meaning: 'backbone: a model on the Hub, or a folder with config.json, model.safetensors and tokenizer.json',
    alsoCalled: ['model', 'backbone'],
  }),
  model_revision: key({
    ...KEY,
    kind: text('a branch, tag or commit', 'revision'),
    default: 'main',
    meaning: 'revision of the model on the Hub',
    alsoCalled: ['revision'],
  }),
  method: key({
    ...FLAG,
    kind: oneOf(['fltac', 'fedit', 'local', 'oracle', 'centralized', 'full', 'none']),
    default: 'fltac',
    meaning:
      'fltac: an adapter for each task, clustered by the server; fedit: one adapter a client, averaged; ' +
      'local: no aggregation; oracle: averaged by the true task; centralized: all rows in one place; full: likewise, but ' +
      'every weight of the backbone is trained, a whole model for each task; none: the untuned backbone',
    alsoCalled: ['algorithm', 'strategy'],
  }),
  baseline_method: key({
    ...FREE_KEY,
    kind: oneOf(['none', 'fedit', 'local', 'oracle', 'centralized']),
    default: derived('fedit for the quickstart with fltac, else none', ({ scenario, method }) =>
      scenario === 'quickstart' && method === 'fltac' ? 'fedit' : 'none',
    ),
    meaning:
      'method to compare with: the same rounds are run with it too (fedit_steps: full), into baseline_<method>/ of the ' +
      "run's folder, and it gets a column of the final table",
    alsoCalled: ['baseline', 'compare'],
  }),
  tasks: key({
    ...KEY,
    kind: names("the scenario's tasks"),
    default: derived("all of the scenario's, in its order", (choice) => scenarioRow(choice).tasks),
    meaning: 'tasks to use; task number i draws its partition with seed + i',
    alsoCalled: ['task'],
  }),
  data: key({
    ...KEY,
    kind: customData(),
    default: null,
    meaning: 'with scenario custom: the tasks by name, each with its files and columns (docs/custom-tasks.md)',
  }),
};
