/**
 * `fltac verify`: what a run's folder claims, checked from its files. Digests catch any later change while they are there;
 * all else is computed again, so that a folder without them is checked too.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { FltacError } from '../../errors.js';
import type { EngineFace } from '../../federation/engine.js';
import { assertRunOptions } from '../arguments.js';
import { RUN_FILES, isRunning } from '../folder.js';
import type { RunContext } from '../open.js';
import { assertRunFolder, readRunConfig } from '../saved.js';
import { checkRounds, readInitial, type InitialAdapter } from './adapters.js';
import { checkCheckpoint } from './checkpoint.js';
import { checkCommunication } from './communication.js';
import { checkEvaluation } from './evaluation.js';
import {
  gatherEvidence,
  planEvidence,
  readJournals,
  type Evidence,
  type Journals,
  type PlanEvidence,
} from './evidence.js';
import { Faults, attempt, skipped, type Finding } from './findings.js';
import { checkMeasures } from './measures.js';
import { checkAssignments, checkManifest, checkMetrics, checkPartition, checkProofs } from './records.js';

export type { Finding, Status } from './findings.js';

export interface VerifyOptions {
  /** a run's folder */
  folder: string;
  /** opens model and data and evaluates the saved rounds anew */
  evaluate?: boolean;
}

export interface VerifyOutcome {
  /** absolute path */
  folder: string;
  /** whether no check failed */
  passed: boolean;
  /** checks of a baseline in the folder have its name before theirs */
  findings: readonly Finding[];
}

/**
 * Checks a finished or interrupted run from its files. Without `evaluate` neither model nor data are needed.
 *
 * @throws FltacError USAGE for a folder that is no run's, that a run works in now, or whose config.yaml cannot be read;
 *   ABORTED
 */
export async function verifyRun(options: VerifyOptions, context: RunContext): Promise<VerifyOutcome> {
  assertRunOptions(options, context, 'verifyRun');
  const folder = path.resolve(options.folder);
  // Its files are of different moments: they would not fit each other.
  if (await isRunning(folder))
    throw new FltacError('USAGE', `a run is working in ${folder}: verify it when that run has ended or was stopped`);
  const face = context.parts?.face ?? (await import('../../federation/native-engine.js')).nativeEngine;
  const findings = await verifyFolder(folder, face, options.evaluate ?? false, context);
  for (const name of (await readdir(folder)).filter((entry) => /^baseline_[a-z]+$/.test(entry)).sort()) {
    const baseline = path.join(folder, name);
    const begun = await checkBegun(baseline);
    const own = begun === undefined ? await verifyFolder(baseline, face, options.evaluate ?? false, context) : [begun];
    findings.push(...own.map((finding) => ({ ...finding, check: `${name}: ${finding.check}` })));
  }
  return { folder, passed: findings.every(({ status }) => status !== 'fail'), findings };
}

/** A baseline's folder that no run has begun in, as where the process was killed before; undefined for any other. */
async function checkBegun(folder: string): Promise<Finding | undefined> {
  const names = await readdir(folder);
  if (names.includes(RUN_FILES.config)) return undefined;
  const more = names.filter((name) => !name.startsWith(RUN_FILES.environment) && !name.startsWith(RUN_FILES.config));
  if (more.length === 0) return skipped('run', 'it was killed before it began');
  return { check: 'run', status: 'fail', detail: `${RUN_FILES.config} is missing beside ${more.join(', ')}` };
}

async function verifyFolder(
  folder: string,
  face: EngineFace,
  evaluate: boolean,
  context: RunContext,
): Promise<Finding[]> {
  await assertRunFolder(folder);
  const run = await gatherEvidence(folder, face, readRunConfig(folder));
  const order = new Faults();
  const [journals, unreadable] = await opened('journals', () => readJournals(run, order));
  const [partition, unplanned] = await opened('partition', () => planEvidence(run));
  const complete = journals?.metrics.rounds.length === run.plannedRounds;
  const manifest = await attempt('manifest', (faults) => checkManifest(run, complete, faults));
  const ended = manifest.status !== 'skip';
  const findings = [manifest, ...unreadable, ...unplanned];
  if (partition !== undefined) findings.push(await attempt('partition', (faults) => checkPartition(partition, faults)));
  if (journals === undefined || partition === undefined) return findings;
  findings.push(await attempt('metrics', () => checkMetrics(run, partition.plan, journals, order)));
  if (run.plannedRounds > 0) {
    findings.push(
      await attempt('assignments', (faults) => checkAssignments(run, partition.plan, journals, faults)),
      await attempt('measures', (faults) => checkMeasures(run, journals, faults)),
      await attempt('round proofs', (faults) => checkProofs(run, journals, faults)),
    );
  }
  findings.push(...(await checkAdapters(run, partition, journals, ended)));
  if (!evaluate) return findings;
  const [evaluated = [], failed] = await opened('evaluation', () => checkEvaluation(run, journals, context));
  return [...findings, ...evaluated, ...failed];
}

/** @param ended whether the run came to its end */
async function checkAdapters(
  run: Evidence,
  partition: PlanEvidence,
  journals: Journals,
  ended: boolean,
): Promise<Finding[]> {
  const { plan } = partition;
  let initial: InitialAdapter | undefined;
  const layout = await attempt('adapter layout', async (faults) => {
    initial = await readInitial(run, faults);
    const { tensors, size } = initial.layout;
    return faults.finding('adapter layout', `${tensors.length} tensors, ${size} values, as config.yaml asks for`);
  });
  if (initial === undefined) {
    const why = `${RUN_FILES.initial}, which says what adapters look like and start from, cannot be read`;
    const others = ['communication', 'checkpoint', 'round files', 'training', 'final adapters'];
    return [layout, ...others.map((check) => skipped(check, why))];
  }
  const { layout: shape } = initial;
  return [
    layout,
    await attempt('communication', (faults) => checkCommunication(run, shape, plan, journals, faults)),
    await attempt('checkpoint', (faults) => checkCheckpoint(run, shape, partition, journals, { ended, faults })),
    ...(await checkRounds(run, initial, { plan, journals, ended })),
  ];
}

/** A value that several checks need, or the finding that says why it is not there. */
async function opened<T>(check: string, open: () => Promise<T>): Promise<[T | undefined, Finding[]]> {
  let value: T | undefined;
  const finding = await attempt(check, async (faults) => {
    value = await open();
    return faults.finding(check, '');
  });
  return value === undefined ? [undefined, [finding]] : [value, []];
}
