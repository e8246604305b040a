/** Checks of the adapters that a run saved: structure, training, aggregates and the PEFT directories. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { RunConfig } from '../../config/schema.js';
import type { AdapterLayout, ArchiveTensor, Tuning } from '../../engine/types.js';
import { FltacError } from '../../errors.js';
import { AGGREGATIONS, leavesEqual } from '../../federation/aggregation.js';
import { compareMean, isInert, metZeroB, sameValues } from '../../federation/checks.js';
import { holdingsOf } from '../../federation/held.js';
import { flattenAdapter } from '../../federation/initial.js';
import { leadingCluster } from '../../federation/evaluation.js';
import { WEIGHTS } from '../../federation/server.js';
import type { Plan } from '../../federation/plan.js';
import {
  finalFolder,
  initialFile,
  layoutOfTensors,
  readRoundAdapters,
  roundFile,
  savesAt,
  submissionName,
  submissionsFile,
} from '../artifacts.js';
import type { RoundAdapters } from '../artifacts.js';
import { checkpointFolder } from '../checkpoint.js';
import { RUN_FILES } from '../folder.js';
import { WHOLE_MODEL } from '../model-directory.js';
import { readJson, type Evidence, type Journals } from './evidence.js';
import { Faults, skipped, type Finding } from './findings.js';
import type { AssignmentLine } from './journals.js';

/** The shape of a run's adapters, and what they started from. */
export interface InitialAdapter {
  layout: AdapterLayout;
  flat: Float32Array;
}

/**
 * Reads the initial adapter, whose tensors are the layout that all other adapters must have, and compares the layout with
 * the configuration.
 */
export async function readInitial({ face, folder, config, method }: Evidence, faults: Faults): Promise<InitialAdapter> {
  const file = initialFile(folder);
  const tensors = await face.readSafetensors(file);
  const layout = layoutOfTensors(tensors);
  const flat = flattenAdapter(tensors, layout, file);
  if (!flat.every(Number.isFinite)) faults.add(`${RUN_FILES.initial} holds values that are not finite`);
  if (method.tuning === 'full') return { layout, flat };
  const modules = new Set<string>();
  for (const { name, shape } of layout.tensors) {
    const factor = /\.([^.]+)\.lora_([AB])\./.exec(name);
    if (factor === null) continue;
    modules.add(factor[1]!);
    const rank = factor[2] === 'A' ? shape[0] : shape[1];
    if (rank !== config.loraRank) faults.add(`${name} has rank ${rank}, config.yaml has lora_rank ${config.loraRank}`);
  }
  const absent = config.targetModules.filter((target) => !modules.has(target.split('.').at(-1)!));
  if (absent.length > 0) faults.add(`no tensor is of the target modules ${absent.join(', ')}`);
  return { layout, flat };
}

/** A saved round that could be read. */
interface ReadRound extends RoundAdapters {
  file: string;
}

/** Findings over all round files, which are read once, one after another. */
export async function checkRounds(
  run: Evidence,
  initial: InitialAdapter,
  { plan, journals, ended }: { plan: Plan; journals: Journals; ended: boolean },
): Promise<Finding[]> {
  const { folder, config, plannedRounds, savedRounds } = run;
  const files = new Faults();
  const training = new Faults();
  const complete = journals.metrics.rounds.length;
  // What a round said of itself counts: save_every may have been another when it was made.
  const due = (round: number) => {
    const proof = journals.metrics.rounds[round - 1]?.done.proof;
    if (proof !== undefined) return proof.adapters_sha256 !== null;
    return savesAt(round, plannedRounds, config);
  };
  const missing = Array.from({ length: complete + 1 }, (_, round) => round).filter(
    (round) => (round > 0 || plannedRounds === 0) && due(round) && !savedRounds.includes(round),
  );
  for (const round of missing) files.add(`adapters_round_${round}.pt is missing`);
  for (const round of savedRounds.filter((saved) => saved > complete + 1)) {
    files.add(`adapters_round_${round}.pt is of a round that metrics.jsonl does not have`);
  }
  let before: ReadRound | undefined;
  let read = 0;
  let compared = 0;
  for (const round of savedRounds) {
    // A round that broke off may leave its file; resuming replaces it.
    if (round > complete && round > 0) continue;
    const file = roundFile(folder, round);
    try {
      const adapters = await readRoundAdapters(run.face, file, initial.layout);
      checkRoundFile(run, adapters, round, journals.assignments[round - 1], files);
      const now: ReadRound = { ...adapters, file: path.basename(file) };
      const { local } = journals.metrics.rounds[round - 1] ?? { local: [] };
      const oneStep = local.every(({ steps }) => steps === 1);
      if (round > 0) {
        checkTrained(run, initial, { now, before, oneStep }, training);
        compared += 1;
      }
      before = now;
      read += 1;
    } catch (error) {
      files.catch(error);
      before = undefined;
    }
  }
  return [
    read === 0 && !files.any
      ? skipped(
          'round files',
          complete === 0 ? 'no round is complete' : 'no complete round was due to save its adapters',
        )
      : files.finding(
          'round files',
          `${read} files have the adapter's tensors, labels and clusters of the journal, finite values`,
        ),
    trainingFinding(run, compared, training),
    await checkFinal(run, initial, plan, { last: before, complete, ended }),
    await checkAggregates(run, initial, journals),
  ];
}

/** @param compared round files that were held to the initial adapter and the round before */
function trainingFinding({ plannedRounds, aggregation }: Evidence, compared: number, faults: Faults): Finding {
  const check = 'training';
  if (plannedRounds === 0) return skipped(check, 'the method trains nothing');
  if (compared === 0) return skipped(check, 'there is no round file that can be read');
  return faults.finding(
    check,
    aggregation.freezesA
      ? 'every B and head differs from the initial adapter and from the round before, none is zero; A is frozen'
      : 'every tensor differs from the initial adapter and from the round before, none is zero',
  );
}

function checkRoundFile(
  { aggregation }: Evidence,
  adapters: RoundAdapters,
  round: number,
  line: AssignmentLine | undefined,
  faults: Faults,
): void {
  const name = `adapters_round_${round}.pt`;
  if (adapters.round !== round) faults.add(`${name} holds round ${adapters.round}`);
  // Where members of a cluster hold different adapters the file's labels are places in submission order.
  const labels = leavesEqual(aggregation) ? line?.labels : line?.labels.map((_, i) => i);
  if (labels !== undefined && adapters.labels.join() !== labels.join()) {
    faults.add(`${name}: its labels differ from cluster_assignments.jsonl`);
  }
  if (line !== undefined && adapters.trueTasks.join('\n') !== line.true_tasks.join('\n')) {
    faults.add(`${name}: its true_tasks differ from cluster_assignments.jsonl`);
  }
  const used = new Set([...adapters.labels, ...(adapters.held ?? [])]);
  const unused = [...adapters.states.keys()].filter((cluster) => !used.has(cluster));
  if (unused.length > 0) faults.add(`${name}: nobody holds cluster ${unused.join(', ')}`);
  for (const [cluster, state] of adapters.states) {
    if (!state.every(Number.isFinite)) faults.add(`${name}: cluster ${cluster} holds values that are not finite`);
  }
}

/**
 * Of each cluster of the round, every tensor must have left the initial adapter and all adapters of the round before, and
 * hold something; a frozen A must be the initial one, and one that met only a zero B, in a single step, may be. What absent
 * clients kept is older, and left alone.
 */
function checkTrained(
  { aggregation }: Evidence,
  initial: InitialAdapter,
  { now, before, oneStep }: { now: ReadRound; before: ReadRound | undefined; oneStep: boolean },
  faults: Faults,
): void {
  const { layout } = initial;
  const earlier = [...(before?.states ?? [])].map(([cluster, flat]) => ({
    of: `${before!.file}, cluster ${cluster}`,
    flat,
  }));
  const sources = [{ of: 'the initial adapter', flat: initial.flat }, ...earlier];
  for (const [cluster, state] of now.states) {
    if (!now.labels.includes(cluster)) continue;
    layout.tensors.forEach(({ name, offset }, i) => {
      const end = layout.tensors[i + 1]?.offset ?? layout.size;
      const what = `${now.file}: ${name} of cluster ${cluster}`;
      if (aggregation.freezesA && name.includes('.lora_A.')) {
        if (!sameValues(initial.flat, state, offset, end)) faults.add(`${what} is frozen, but not the initial one`);
        return;
      }
      if (isInert(name)) return;
      if (state.subarray(offset, end).every((value) => value === 0)) faults.add(`${what} is all zeros`);
      const stale = sources.find(
        ({ flat }) => sameValues(flat, state, offset, end) && !(oneStep && metZeroB(layout, name, flat)),
      );
      if (stale !== undefined) faults.add(`${what} was not trained: it is that of ${stale.of}`);
    });
  }
}

/** What the final adapters are, by what the method trains: their files, the settings' written last. */
const FINAL_FORMS: Readonly<Record<Tuning, { name: string; weights: string; settings: string }>> = {
  lora: { name: 'PEFT directories', weights: 'adapter_model.safetensors', settings: 'adapter_config.json' },
  full: { name: "whole models' folders", weights: WHOLE_MODEL, settings: 'config.json' },
};

/** Each task's final folder: its leading adapter of the last round, value for value. */
async function checkFinal(
  run: Evidence,
  { layout }: InitialAdapter,
  plan: Plan,
  { last, complete, ended }: { last: ReadRound | undefined; complete: number; ended: boolean },
): Promise<Finding> {
  const check = 'final adapters';
  const { folder, config, plannedRounds, method } = run;
  const form = FINAL_FORMS[method.tuning];
  const faults = new Faults();
  const present = await namesIn(path.join(folder, RUN_FILES.final));
  if (complete < plannedRounds) {
    // A finished run that was given more rounds has them; such a one has a checkpoint, too.
    if (present.length > 0 && (await namesIn(checkpointFolder(folder))).length === 0)
      faults.add(`final/ is there, but only ${complete} of ${plannedRounds} rounds are recorded`);
    return faults.any ? faults.finding(check, '') : skipped(check, 'the run writes them at its end');
  }
  if (last?.round !== plannedRounds) return skipped(check, 'the last round cannot be read');
  const holdings = holdingsOf(plan, last.held ?? last.labels, () => 0);
  const leaders = plan.tasks.flatMap((task, index) => {
    const leading = leadingCluster(holdings, index);
    return leading === undefined ? [] : [{ task, cluster: leading.cluster }];
  });
  let compared = 0;
  for (const { task, cluster } of leaders) {
    const own = finalFolder(folder, task);
    // Its file of settings is written last.
    if (!ended && !(await namesIn(own)).includes(form.settings)) continue;
    try {
      const file = path.join(own, form.weights);
      const flat = flattenAdapter(await run.face.readSafetensors(file), layout, file);
      const fault = firstDifference(layout, flat, last.states.get(cluster)!);
      if (fault !== undefined) faults.add(`final/${task}: ${fault} is not that of ${last.file}, cluster ${cluster}`);
      const settings = await readJson(path.join(own, form.settings));
      if (method.tuning === 'lora') checkSettings(config, task, settings, faults);
      compared += 1;
    } catch (error) {
      faults.catch(error);
    }
  }
  for (const name of present.filter((entry) => !plan.tasks.includes(entry))) {
    faults.add(`final/${name} is no task of the run`);
  }
  if (compared < leaders.length && !faults.any) {
    const why = 'the run was killed before it wrote the others, or they were removed';
    return skipped(check, `${compared} of ${leaders.length} ${form.name} are there and hold the last round's: ${why}`);
  }
  return faults.finding(check, `${compared} ${form.name} hold the last round's adapters`);
}

function checkSettings(config: RunConfig, task: string, found: Record<string, unknown>, faults: Faults): void {
  const expected = { r: config.loraRank, lora_alpha: config.loraAlpha, target_modules: config.targetModules };
  for (const [field, value] of Object.entries(expected)) {
    if (!isDeepStrictEqual(found[field], value))
      faults.add(`final/${task}: adapter_config.json has ${field} ${JSON.stringify(found[field])}`);
  }
}

/** None of a folder that is absent. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

function firstDifference(layout: AdapterLayout, a: Float32Array, b: Float32Array): string | undefined {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? undefined : layout.tensors.filter(({ offset }) => offset <= at).at(-1)!.name;
}

/** That each saved cluster is the weighted mean of the submissions that were kept. */
async function checkAggregates(run: Evidence, { layout }: InitialAdapter, journals: Journals): Promise<Finding> {
  const check = 'aggregates';
  const { folder, face, config, aggregation } = run;
  if (aggregation !== AGGREGATIONS.mean) {
    return skipped(
      check,
      `with aggregation ${config.aggregation} what clients hold are not the means of what they sent`,
    );
  }
  const faults = new Faults();
  const present = new Set(await readdir(folder));
  let means = 0;
  for (const line of journals.assignments.slice(0, journals.metrics.rounds.length)) {
    const file = submissionsFile(folder, line.round);
    if (!present.has(path.basename(file)) || !run.savedRounds.includes(line.round)) continue;
    try {
      const tensors = await face.readSafetensors(file);
      const { states } = await readRoundAdapters(face, roundFile(folder, line.round), layout);
      for (const [cluster, state] of states) {
        const members = line.labels.flatMap((label, i) => (label === cluster ? [i] : []));
        if (members.length === 0) continue;
        const terms = members.map((i) => ({
          weight: WEIGHTS[config.weights]({ client: line.clients[i]!, slot: 0, row: 0, samples: line.samples[i]! }),
          values: submitted(tensors, submissionName(line.clients[i]!, line.true_tasks[i]!), layout, file),
        }));
        const { fault } = compareMean(state, terms.length, () => terms);
        if (fault !== undefined) {
          faults.add(
            `round ${line.round}, cluster ${cluster}: value ${fault.at} is ${fault.found}, the weighted mean of its ` +
              `${members.length} submissions ${fault.expected}`,
          );
        }
        means += 1;
      }
    } catch (error) {
      faults.catch(error);
    }
  }
  if (means === 0 && !faults.any) {
    return skipped(check, 'no submissions were kept (save_submissions: true keeps those of saved rounds)');
  }
  return faults.finding(check, `${means} clusters are the weighted means of their submissions`);
}

function submitted(
  tensors: ReadonlyMap<string, ArchiveTensor>,
  name: string,
  layout: AdapterLayout,
  file: string,
): Float32Array {
  const tensor = tensors.get(name);
  if (tensor?.data.length === layout.size) return tensor.data;
  throw new FltacError('SHAPE', `${file} lacks the submission ${name} of ${layout.size} values`);
}
