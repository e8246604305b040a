/**
 * The trainable parameters that the paper states (arXiv 2404.15384), each computed from the shapes of its backbone. Some
 * of them are not what is trained but what a count of the loaded model gives; the derivations and notes say which.
 */
import { NUM_LABELS, SCENARIOS, type ScenarioName } from '../config/scenarios.js';
import { countAdapter, grouped, type AdapterCount, type Shapes } from './counting.js';
import { presetShape } from './presets.js';

export interface PublishedCount {
  method: string;
  values: number;
  derivation: string;
  /** where the published count is not what is really trained */
  note?: string;
}

export interface PublishedTable {
  /** completes "computed from the shapes of …" */
  backbone: string;
  counts: readonly PublishedCount[];
}

type Compute = (shapes: Shapes) => PublishedTable;

const TABLES: Partial<Record<ScenarioName, Compute>> = { glue: countBert, cifar: countVit, dolly: countLlama };

/** The paper's table of a scenario, or undefined where it has none. */
export function countPublished(scenario: ScenarioName, shapes: Shapes): PublishedTable | undefined {
  return TABLES[scenario]?.(shapes);
}

/** What the published rows are computed of: a backbone, and its LoRA at a rank. */
class Model {
  readonly text: string;
  readonly parameters: number;
  readonly hidden: number;

  constructor(
    private readonly shapes: Shapes,
    readonly name: string,
    private readonly targetModules: readonly string[],
  ) {
    this.text = JSON.stringify(presetShape(name));
    const info = shapes.describeArchitecture(this.text, name);
    this.parameters = info.parameters;
    this.hidden = info.hiddenSize;
  }

  adapter(rank: number, numLabels: number, trainHead: boolean): AdapterCount {
    const { targetModules } = this;
    return countAdapter(this.shapes, this.text, { rank, targetModules, numLabels, trainHead });
  }
}

const ONE_RANK = 1;

/** Head and LoRA are trained; the shared adapter's head is multiplied by the rank as well. */
function countBert(shapes: Shapes): PublishedTable {
  const rank = 16;
  const tasks = SCENARIOS.glue.tasks.length;
  const model = new Model(shapes, 'bert-base-cased', ['query', 'value']);
  const named = new Model(shapes, 'bert-base-uncased', ['query', 'value']);
  const unit = model.adapter(ONE_RANK, NUM_LABELS.glue, true);
  const shared = model.adapter(rank, NUM_LABELS.glue, true);
  return {
    backbone: 'BERT-base',
    counts: [
      { method: 'FL-TAC', values: tasks * unit.values, derivation: `${tasks} tasks x (${unit.parts})` },
      {
        method: 'FedIT',
        values: rank * unit.values,
        derivation: `rank ${rank} x ${grouped(unit.values)} (${unit.parts})`,
        note: `this multiplies the head by the rank as well; one rank-${rank} adapter has ${grouped(shared.values)} values`,
      },
      {
        method: 'full fine-tuning',
        values: model.parameters + unit.head,
        derivation: `${grouped(model.parameters)} ${model.name} + ${grouped(unit.head)} head`,
        note: `this is the cased model; ${named.name} has ${grouped(named.parameters)} + ${grouped(unit.head)}`,
      },
    ],
  };
}

/** The head is frozen; full fine-tuning counts ImageNet's head and FedIT's LoRA into the model. */
function countVit(shapes: Shapes): PublishedTable {
  const rank = 8;
  const imageNetClasses = 1000;
  const tasks = SCENARIOS.cifar.tasks.length;
  const model = new Model(shapes, 'google/vit-base-patch16-224-in21k', ['query', 'value']);
  const unit = model.adapter(ONE_RANK, NUM_LABELS.cifar, false);
  const { head } = model.adapter(rank, imageNetClasses, true);
  const own = model.adapter(rank, NUM_LABELS.cifar, true).head;
  return {
    backbone: 'ViT-B/16',
    counts: [
      {
        method: 'FL-TAC',
        values: unit.values,
        derivation: `${unit.parts}, without a head`,
        note: `this is one task's adapter; the ${tasks} tasks have ${grouped(tasks * unit.values)} values`,
      },
      { method: 'FedIT', values: rank * unit.values, derivation: `rank ${rank} x ${grouped(unit.values)}` },
      {
        method: 'full fine-tuning',
        values: model.parameters + head + rank * unit.values,
        derivation:
          `${grouped(model.parameters)} ViT-B/16 + ${grouped(head)} head of ${imageNetClasses} classes + ` +
          `${grouped(rank * unit.values)} rank-${rank} LoRA`,
        note:
          "this counts ImageNet's head and FedIT's LoRA into the model; with a head of " +
          `${NUM_LABELS.cifar} classes it has ${grouped(model.parameters)} + ${grouped(own)}`,
      },
    ],
  };
}

/** Counted on a classifier over LLaMA: its head of two classes has no bias, and PEFT holds it twice. */
function countLlama(shapes: Shapes): PublishedTable {
  const rank = 16;
  const classes = 2;
  const tasks = SCENARIOS.dolly.tasks.length;
  const model = new Model(shapes, 'huggyllama/llama-7b', ['q_proj', 'v_proj']);
  const { lora, parts } = model.adapter(ONE_RANK, 0, false);
  const head = classes * model.hidden;
  const unit = lora + head;
  const sum = `${parts} + ${grouped(head)} head of ${classes} classes without bias`;
  return {
    backbone: 'LLaMA-7B',
    counts: [
      {
        method: 'FL-TAC',
        values: tasks * unit,
        derivation: `${tasks} tasks x (${sum})`,
        note: `the task is language modelling, which has no such head: ${tasks} x ${grouped(lora)} = ${grouped(tasks * lora)} are trained`,
      },
      {
        method: 'FedIT',
        values: rank * unit,
        derivation: `rank ${rank} x ${grouped(unit)} (${sum})`,
        note: `this multiplies the head by the rank as well; one rank-${rank} adapter has ${grouped(rank * lora)} values`,
      },
      {
        method: 'full fine-tuning',
        values: model.parameters + lora + 2 * head,
        derivation:
          `${grouped(model.parameters)} LLaMA-7B without its output words + ${grouped(lora)} rank-1 LoRA + ` +
          `2 x ${grouped(head)} head, which PEFT holds twice`,
        note: 'this counts all that is loaded to train one rank-1 adapter of a classifier',
      },
    ],
  };
}
