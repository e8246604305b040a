/** The README.md of an exported adapter or model: what it is, how it was made, and what it scored. */
import path from 'node:path';
import { BUNDLED_MODEL, scenarioRow } from '../config/scenarios.js';
import { shownModelId } from '../data/scenario.js';
import { METRIC_RECORD, isKnownPhase, readJournal } from '../report/journals.js';
import type { AdapterBase } from '../run/artifacts.js';
import { RUN_FILES } from '../run/folder.js';
import { METHODS, learningRate } from '../federation/methods.js';
import { METRICS } from '../federation/metrics.js';
import type { ChosenAdapter, RoundOfRun } from './adapters.js';

/** What a task scored. */
interface TaskScore {
  /** the metric after `round` */
  tuned?: number;
  /** the evaluated round */
  round?: number;
  /** the untuned backbone's */
  untuned?: number;
  /** what the majority label gives */
  floor?: number;
}

/** By task. */
export type TaskScores = ReadonlyMap<string, TaskScore>;

/** What metrics.jsonl says of a round; where that was not evaluated, of the last one before it that was. */
export async function readScores(folder: string, round: number): Promise<TaskScores> {
  const file = path.join(folder, RUN_FILES.metrics);
  const records = await readJournal(file, METRIC_RECORD, { optional: true, keep: isKnownPhase });
  const scores = new Map<string, TaskScore>();
  for (const record of records) {
    if (record.phase !== 'eval' || record.round > round) continue;
    const { task, metric, round: evaluated, majority_floor: floor } = record;
    const found = evaluated === 0 ? { untuned: metric } : { tuned: metric, round: evaluated };
    scores.set(task, { ...scores.get(task), ...(floor == null ? {} : { floor }), ...found });
  }
  return scores;
}

type Kind = 'peft' | 'merged';

const WHAT: Readonly<Record<Kind, string>> = {
  peft: 'A LoRA adapter',
  merged: 'A backbone with a LoRA adapter folded into its weights',
};

const WHOLE = 'A whole model, every weight of it trained';

/** How the tags of every card begin. */
const TAGS = 'tags: [fltac, ';

/** Whether a README.md is a card that `modelCard` made. */
export function isModelCard(text: string): boolean {
  return text.startsWith('---\n') && text.includes(`\n${TAGS}`);
}

/** Markdown with the front matter that the Hugging Face Hub reads. */
export function modelCard(run: RoundOfRun, adapter: ChosenAdapter, scores: TaskScores, kind: Kind): string {
  const { config, base } = run;
  const whole = run.spec.tuning === 'full';
  const hub = base.revision === 'local' ? [] : [`base_model: ${base.id}`];
  return [
    '---',
    ...hub,
    `library_name: ${kind === 'peft' ? 'peft' : 'transformers'}`,
    `${TAGS}${whole ? 'full-fine-tuning' : 'lora, federated-learning'}]`,
    '---',
    '',
    `# ${adapter.name}`,
    '',
    `${whole ? WHOLE : WHAT[kind]}, fine-tuned by fltac, federated LoRA after [FL-TAC](https://arxiv.org/abs/2404.15384).`,
    '',
    `- Backbone: ${shownModelId(base)}${originOf(base)}`,
    `- Data: scenario ${config.scenario}; trained on ${adapter.tasks.join(', ')}`,
    `- Method: ${config.method} (${METHODS[config.method].summary}), round ${run.round} of ${config.rounds}, ${config.nClients} clients, ` +
      `Dirichlet alpha ${config.dirichletAlpha}, seed ${config.seed}`,
    `- Local fine-tuning: ${config.localSteps} AdamW steps of ${config.batchSize}, learning rate ${learningRate(METHODS[config.method], config)}`,
    ...(whole ? [] : [loraLine(run)]),
    `- It is adapter ${adapter.cluster} of the round` +
      (adapter.share === 1 ? '' : `, which ${(100 * adapter.share).toFixed(0)} % of the task's samples are behind`),
    '',
    ...scoreTable(run, adapter, scores),
    ...usage(run, kind),
    '',
  ].join('\n');
}

function originOf({ id, revision }: AdapterBase): string {
  if (revision !== 'local') return ` at ${revision}`;
  return id === BUNDLED_MODEL
    ? ', which comes with fltac in the folder quickstart/model of its package'
    : ', from a folder';
}

/** The backbone as code names it: its Hub id, or words for a folder, whose path is left out of what may be published. */
export function namedInCode(base: AdapterBase): string {
  if (base.revision !== 'local') return base.id;
  return base.id === BUNDLED_MODEL ? '<folder of fltac>/quickstart/model' : `<folder of ${shownModelId(base)}>`;
}

function loraLine({ spec }: RoundOfRun): string {
  return (
    `- LoRA: rank ${spec.rank}, alpha ${spec.loraAlpha}, dropout ${spec.loraDropout}, ` +
    `on ${spec.targetModules.join(', ')}`
  );
}

function scoreTable({ config, round }: RoundOfRun, { tasks }: ChosenAdapter, scores: TaskScores): string[] {
  const shown = (value: number | undefined) => (value === undefined ? '-' : value.toFixed(3));
  const entries = tasks.flatMap((task) => {
    const entry = scores.get(task);
    return entry === undefined ? [] : [{ task, ...entry }];
  });
  if (entries.length === 0) return [];
  const { title, lowerIsBetter } = METRICS[scenarioRow(config).output === 'classes' ? 'accuracy' : 'loss'];
  const evaluated = entries.find((entry) => entry.round !== undefined)?.round;
  const when =
    evaluated === undefined || evaluated === round
      ? ''
      : `; after round ${evaluated}, the last before round ${round} that was evaluated`;
  return [
    `Of all clients that hold the task, weighted by their samples${lowerIsBetter ? '; lower is better' : ''}${when}:`,
    '',
    `| task | ${title} | majority floor | untuned backbone |`,
    '| --- | --- | --- | --- |',
    ...entries.map(
      ({ task, tuned, floor, untuned }) => `| ${task} | ${shown(tuned)} | ${shown(floor)} | ${shown(untuned)} |`,
    ),
    '',
  ];
}

function usage({ base, config, output, spec }: RoundOfRun, kind: Kind): string[] {
  const classes = scenarioRow(config).input === 'images' ? 'Image' : 'Sequence';
  const model = output === 'classes' ? `AutoModelFor${classes}Classification` : 'AutoModelForCausalLM';
  const labels = output === 'classes' ? `, num_labels=${spec.numLabels}` : '';
  if (kind === 'peft' && output === 'classes' && !spec.trainHead) {
    return [
      'The head stayed at its random start and is not in this folder: a merged model (`fltac export --as merged`) has it.',
    ];
  }
  const lines =
    kind === 'peft'
      ? [
          'from peft import PeftModel',
          `from transformers import ${model}`,
          '',
          `backbone = ${model}.from_pretrained("${namedInCode(base)}"${labels})`,
          'model = PeftModel.from_pretrained(backbone, "<this folder>")',
        ]
      : [`from transformers import ${model}`, '', `model = ${model}.from_pretrained("<this folder>")`];
  return ['```python', ...lines, '```'];
}
