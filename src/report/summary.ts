/** The head of a report in words and tables: what ran, what it found beside floor and untuned backbone, what it cost. */
import { METRICS } from '../federation/metrics.js';
import { METHODS, learningRate } from '../federation/methods.js';
import { formatSeconds, plural } from '../run/log.js';
import { score } from '../run/table.js';
import {
  MEGABYTE,
  allTasks,
  finalScore,
  lastRound,
  majorityFloor,
  meanOf,
  references,
  scoredAssignments,
  trafficUpTo,
  untunedScore,
  type Reference,
} from './facts.js';
import type { Table } from './figures/index.js';
import type { Run } from './runs.js';

/** How far a run is, for people. */
export function stateOf(run: Run): string {
  const { plannedRounds, locked } = run;
  const done = lastRound(run);
  if (done >= plannedRounds)
    return plannedRounds === 0 ? 'nothing is trained' : `complete: ${plural(plannedRounds, 'round')}`;
  return `${locked ? 'in progress' : 'stopped'}: ${done} of ${plural(plannedRounds, 'round')}`;
}

/** Whether rounds are still to come. */
export function isPartial(run: Run): boolean {
  return lastRound(run) < run.plannedRounds;
}

/** One line that says it all. */
export function headline(run: Run): string {
  const { config, metric } = run;
  const scores = run.tasks.flatMap((task) => {
    const value = finalScore(run, task);
    if (value === undefined) return [];
    const floor = majorityFloor([run], task);
    const beside = [
      ...(floor === undefined ? [] : [`floor ${score(floor)}`]),
      ...(untunedScore([run], task) === undefined ? [] : [`untuned ${score(untunedScore([run], task))}`]),
    ];
    return [`${task} ${score(value)} (${beside.join(', ')})`];
  });
  const clustering = scoredAssignments(run).at(-1)?.clustering_accuracy;
  const traffic = trafficUpTo(run, lastRound(run));
  return [
    `${config.method} on ${config.scenario}, ${stateOf(run)}`,
    ...(scores.length === 0 ? [] : [`${METRICS[metric].title}: ${scores.join(', ')}`]),
    ...(typeof clustering === 'number' ? [`clustering accuracy ${score(clustering)}`] : []),
    ...(traffic === undefined ? [] : [`${megabytes(traffic.up)} up, ${megabytes(traffic.down)} down`]),
    `${formatSeconds(secondsOf(run))} in rounds`,
  ].join('; ');
}

/** Scores by task: every run, the floor, the untuned backbone; their means last. */
export function scoreTable(runs: readonly Run[]): Table {
  const tasks = allTasks(runs);
  const columns: Reference[] = [
    ...runs.map((run) => ({ name: run.name, of: (task: string) => finalScore(run, task) })),
    ...(runs[0]!.metric === 'accuracy' ? references('majority floor', runs, majorityFloor) : []),
    ...references('untuned backbone', runs, untunedScore),
  ];
  const line = (values: readonly (number | undefined)[]) => values.map(score);
  const values = columns.map(({ of }) => tasks.map(of));
  const mean = values.map((column) => {
    const known = column.filter((value) => value !== undefined);
    return known.length < column.length ? undefined : meanOf(known);
  });
  return {
    head: ['task', ...columns.map(({ name }) => name)],
    rows: [
      ...tasks.map((task, i) => [task, ...line(values.map((column) => column[i]))]),
      ...(tasks.length > 1 ? [['mean', ...line(mean)]] : []),
    ],
  };
}

/** What each run is, found and cost: a line a fact, a column a run. */
export function factTable(runs: readonly Run[]): Table {
  const facts: readonly (readonly [string, (run: Run) => string])[] = [
    ['state', stateOf],
    ['method', ({ config }) => `${config.method}: ${METHODS[config.method].summary}`],
    ['backbone', ({ config, environment }) => environment.model?.id ?? config.modelName],
    ['clients, tasks', ({ allocation, tasks }) => `${allocation.length}, ${tasks.length}`],
    ['rank, alpha, learning rate', rankAndRate],
    ['local steps, batch', ({ config }) => `${config.localSteps}, ${config.batchSize}`],
    ['seed', ({ config }) => String(config.seed)],
    ['clustering accuracy, last round', (run) => score(scoredAssignments(run).at(-1)?.clustering_accuracy)],
    ['adjusted Rand index, last round', (run) => score(scoredAssignments(run).at(-1)?.ari)],
    ['optimizer steps, all rounds', (run) => optimizerSteps(run)],
    ['sent up, all rounds', (run) => traffic(run, 'up')],
    ['sent down, all rounds', (run) => traffic(run, 'down')],
    ['up per client and round, mean', (run) => perClient(run)],
    ['time in rounds', (run) => formatSeconds(secondsOf(run))],
    ['machine', ({ environment }) => machineText(environment)],
    ['fltac', ({ environment }) => environment.fltac ?? '-'],
  ];
  return {
    head: ['', ...runs.map((run) => run.name)],
    rows: facts.map(([name, of]) => [name, ...runs.map(of)]),
  };
}

function rankAndRate({ config }: Run): string {
  const method = METHODS[config.method];
  const rate = learningRate(method, config);
  return method.tuning === 'full' ? `-, -, ${rate}` : `${config.loraRank}, ${config.loraAlpha}, ${rate}`;
}

function traffic(run: Run, direction: 'up' | 'down'): string {
  const sent = trafficUpTo(run, lastRound(run));
  return sent === undefined ? 'not recorded' : megabytes(sent[direction]);
}

function perClient(run: Run): string {
  const sent = trafficUpTo(run, lastRound(run));
  const shares = run.allocation.length * run.rounds.length;
  return sent === undefined || shares === 0 ? '-' : megabytes(sent.up / shares);
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(2)} MB`;
}

function optimizerSteps(run: Run): string {
  const known = run.rounds.flatMap(({ optimizer_steps: steps }) => (steps === undefined ? [] : [steps]));
  return known.length < run.rounds.length ? '-' : String(known.reduce((sum, steps) => sum + steps, 0));
}

function secondsOf(run: Run): number {
  return run.rounds.reduce((sum, { seconds }) => sum + seconds, 0);
}

function machineText({ cpu, cores, threads, device, dtype }: Run['environment']): string {
  const parts = [
    ...(device === undefined ? [] : [device]),
    ...(dtype === undefined ? [] : [dtype]),
    ...(cpu === undefined ? [] : [cpu]),
    ...(cores === undefined ? [] : [`${cores} cores`]),
    ...(threads === undefined ? [] : [`${threads} threads`]),
  ];
  return parts.length === 0 ? '-' : parts.join(', ');
}

/** Config keys in which runs differ, folders aside. */
export function differences(runs: readonly Run[]): Table | undefined {
  if (runs.length < 2) return undefined;
  const keys = Object.keys(runs[0]!.config) as (keyof Run['config'])[];
  const text = (run: Run, key: keyof Run['config']) => JSON.stringify(run.config[key]);
  const differing = keys.filter((key) => key !== 'outputDir' && new Set(runs.map((run) => text(run, key))).size > 1);
  if (differing.length === 0) return undefined;
  const plain = (key: string) => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return {
    head: ['key', ...runs.map((run) => run.name)],
    rows: differing.map((key) => [plain(key), ...runs.map((run) => text(run, key))]),
  };
}
