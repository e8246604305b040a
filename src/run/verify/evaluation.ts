/** `fltac verify --evaluate`: model and data are opened, and the metrics of saved rounds computed anew. */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { TaskScore } from '../../federation/evaluation.js';
import { initialFile, partitionRecord } from '../artifacts.js';
import { environmentRecord } from '../environment.js';
import { evaluateSaved } from '../evaluate.js';
import { RUN_FILES } from '../folder.js';
import { openRun, type OpenRun, type RunContext } from '../open.js';
import { chooseTasks, initialAdapterOf, openRoundOf } from '../saved.js';
import { flattenAdapter } from '../../federation/initial.js';
import { partOf, readJson, type Evidence, type Journals } from './evidence.js';
import { attempt, type Faults, type Finding } from './findings.js';
import type { EvalLine } from './journals.js';

/** What makes two evaluations the same bits; `engine` tells of the products, in bfloat16 only where weights are held in it. */
const SAME = ['fltac', 'engine', 'cpu', 'arch', 'threads', 'device', 'placement', 'dtype', 'cohort'] as const;

/** On another machine sums round otherwise: a loss may differ by this part, a share of rows by this much. */
const ELSEWHERE = { loss: 2e-3, metric: 0.01 };

/** Findings that need the model and the data. */
export async function checkEvaluation(run: Evidence, journals: Journals, context: RunContext): Promise<Finding[]> {
  const open = await openRun(run.config, context);
  try {
    return [
      await attempt('data', (faults) => checkData(run, open, faults)),
      await attempt('initial adapter, drawn anew', (faults) => checkInitial(run, open, faults)),
      await attempt('metrics, evaluated anew', (faults) => checkMetric(run, open, journals, context, faults)),
    ];
  } finally {
    open.engine.dispose();
  }
}

async function checkData({ folder }: Evidence, open: OpenRun, faults: Faults): Promise<Finding> {
  const found = await readJson(path.join(folder, RUN_FILES.partition));
  const expected = partitionRecord(open.partition, open.config);
  if (!isDeepStrictEqual(found, expected))
    faults.add('partition.json is not the partition of the data that are there now');
  return faults.finding('data', 'the partition of the data that are there now is that of partition.json');
}

async function checkInitial({ folder, face }: Evidence, open: OpenRun, faults: Faults): Promise<Finding> {
  const file = initialFile(folder);
  const drawn = await initialAdapterOf(open);
  const flat = flattenAdapter(await face.readSafetensors(file), drawn.layout, file);
  const at = flat.findIndex((value, i) => value !== drawn.flat[i]);
  if (at >= 0) faults.add(`value ${at} is ${flat[at]!}, the seed gives ${drawn.flat[at]!}`);
  return faults.finding('initial adapter, drawn anew', `${flat.length} values equal`);
}

async function checkMetric(
  run: Evidence,
  open: OpenRun,
  { metrics }: Journals,
  context: RunContext,
  faults: Faults,
): Promise<Finding> {
  const same = await onSameMachine(run, open);
  const last = run.plannedRounds === 0 ? [{ round: 0, evals: metrics.untuned, hasFile: true }] : [];
  const untuned = run.plannedRounds === 0 ? [] : [{ round: 0, evals: metrics.untuned, hasFile: false }];
  const saved = metrics.rounds
    .filter(({ round, evals }) => evals.length > 0 && run.savedRounds.includes(round))
    .map(({ round, evals }) => ({ round, evals, hasFile: true }));
  const rowsOf = (evals: readonly EvalLine[]) => evals.map(({ task, rows }) => `${task} ${rows}`).join();
  // What the configuration says now; a resumed run may have been evaluated on other rows before.
  const now = metrics.rounds.findLast(({ evals }) => evals.length > 0) ?? { round: 0, evals: metrics.untuned };
  let compared = 0;
  let others = 0;
  for (const { round, evals, hasFile } of [...untuned, ...last, ...saved]) {
    const earlier = partOf(run, round) < partOf(run, now.round);
    if (earlier && rowsOf(evals) !== rowsOf(now.evals)) {
      others += 1;
      continue;
    }
    try {
      const held = await openRoundOf(open, { folder: run.folder, round, hasFile });
      try {
        const { scores } = await evaluateSaved(held, chooseTasks(open, undefined), context);
        for (const score of scores) compareScore(round, evals, score, { same, earlier }, faults);
        compared += scores.length;
      } finally {
        held.dispose();
      }
    } catch (error) {
      faults.catch(error);
    }
  }
  const how = same
    ? 'equal in every digit'
    : `equal but for rounding (another machine or version: a loss within ${ELSEWHERE.loss}, a metric within ${ELSEWHERE.metric})`;
  const left = others === 0 ? '' : `; ${others} rounds were evaluated on other rows, before the run was resumed`;
  return faults.finding('metrics, evaluated anew', `${compared} metrics and losses, ${how}${left}`);
}

/** @param earlier before the run was resumed, perhaps with other batches: the mean of their means is not compared then */
function compareScore(
  round: number,
  evals: readonly EvalLine[],
  { task, metric, loss, ...counts }: TaskScore,
  { same, earlier }: { same: boolean; earlier: boolean },
  faults: Faults,
): void {
  const told = evals.find((line) => line.task === task);
  if (told === undefined) {
    faults.add(`round ${round}, ${task}: metrics.jsonl has no evaluation`);
    return;
  }
  const facts = {
    rows: counts.rows,
    adapters: counts.adapters,
    majority_floor: counts.majorityFloor,
    tokens: counts.tokens,
  };
  for (const [field, value] of Object.entries(facts)) {
    if (told[field] !== value)
      faults.add(
        `round ${round}, ${task}: metrics.jsonl has ${field} ${String(told[field])}, found are ${String(value)}`,
      );
  }
  const near = (a: number, b: number, tolerance: number) => Math.abs(a - b) <= (same ? 0 : tolerance);
  const overBatches = earlier && counts.tokens !== undefined;
  if (!overBatches && !near(told.metric, metric, ELSEWHERE.metric)) {
    faults.add(`round ${round}, ${task}: metrics.jsonl has the metric ${told.metric}, the adapters give ${metric}`);
  } else if (!near(told.loss, loss, ELSEWHERE.loss * loss)) {
    faults.add(`round ${round}, ${task}: metrics.jsonl has the loss ${told.loss}, the adapters give ${loss}`);
  }
}

async function onSameMachine({ folder, continuations }: Evidence, open: OpenRun): Promise<boolean> {
  // A continuation tells only what was different.
  if (continuations.some((facts) => SAME.some((field) => field in facts))) return false;
  const made = await readJson(path.join(folder, RUN_FILES.environment));
  const now = JSON.parse(JSON.stringify(environmentRecord(open))) as Record<string, unknown>;
  return SAME.every((field) => isDeepStrictEqual(made[field], now[field]));
}
