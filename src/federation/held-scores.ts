/** The scores of what a federation's clients hold, of the common start, and of adapters that were read back. */
import type { MetricName, ScenarioTask } from '../data/scenario.js';
import type { AdapterSpec, Examples } from '../engine/types.js';
import type { Log } from '../run/log.js';
import type { Bank, Engine } from './engine.js';
import { evaluateHoldings, type EvaluationCache, type Holding, type PairResult, type TaskScore } from './evaluation.js';
import { holdingsOf } from './held.js';
import { startRow } from './initial.js';
import type { Plan } from './plan.js';
import type { FederationSettings } from './settings.js';

export interface HeldScoresOptions {
  engine: Engine;
  spec: AdapterSpec;
  plan: Plan;
  /** in listed order */
  tasks: readonly ScenarioTask[];
  metric: MetricName;
  settings: Pick<FederationSettings, 'seed' | 'maxEvalBatches' | 'evalBatchSize'>;
  /** the common initial adapter; absent: drawn from the seed */
  initial?: Float32Array;
  /** evaluation tokens shared with other federations of the same tasks and row limit */
  cache?: EvaluationCache;
  log: Log;
}

/** Evaluates adapters on the run's evaluation rows. */
export class HeldScores {
  readonly #options: HeldScoresOptions;
  readonly #cache: EvaluationCache;

  constructor(options: HeldScoresOptions) {
    this.#options = options;
    this.#cache = options.cache ?? new Map<string, Promise<Examples>>();
  }

  /** Scores what the holders hold in the rows of a bank. @throws FltacError as evaluateHoldings */
  async of(bank: Bank, holdings: readonly Holding[], signal?: AbortSignal): Promise<readonly TaskScore[]> {
    const { maxEvalBatches, evalBatchSize } = this.#options.settings;
    const limit = maxEvalBatches * evalBatchSize;
    return (await evaluateHoldings({ ...this.#on(bank, holdings, limit, signal), cache: this.#cache })).scores;
  }

  /** Scores the common initial adapter, as though every client held it. */
  async ofInitial(signal?: AbortSignal): Promise<readonly TaskScore[]> {
    const { plan, initial } = this.#options;
    const everyone = plan.adapters.map(() => 0);
    return this.#inOwnBank(1, async (bank) => {
      if (initial !== undefined) bank.set(0, initial);
      const holdings = holdingsOf(plan, everyone, () => 0);
      return this.of(bank, holdings, signal);
    });
  }

  /** Each distinct adapter that is held, on each task's first batch of rows. */
  async probe(bank: Bank, holdings: readonly Holding[], signal?: AbortSignal): Promise<readonly PairResult[]> {
    const limit = this.#options.settings.evalBatchSize;
    return (await evaluateHoldings(this.#on(bank, holdings, limit, signal))).pairs;
  }

  /**
   * The same of adapters that are given, layout.size values each.
   *
   * @param held number of the adapter that each planned one is; `states` has each
   */
  async probeStates(
    states: ReadonlyMap<number, Float32Array>,
    held: readonly number[],
    signal?: AbortSignal,
  ): Promise<readonly PairResult[]> {
    const numbers = [...states.keys()];
    return this.#inOwnBank(numbers.length, async (bank) => {
      [...states.values()].forEach((state, row) => bank.set(row, state));
      const holdings = holdingsOf(this.#options.plan, held, (_, number) => numbers.indexOf(number));
      return this.probe(bank, holdings, signal);
    });
  }

  #on(bank: Bank, holdings: readonly Holding[], limit: number, signal: AbortSignal | undefined) {
    const { engine, tasks, metric, settings, log } = this.#options;
    return { engine, bank, tasks, metric, holdings, limit, batchSize: settings.evalBatchSize, signal, log };
  }

  async #inOwnBank<T>(rows: number, use: (bank: Bank) => Promise<T>): Promise<T> {
    const { engine, spec, settings } = this.#options;
    const bank = engine.createBank(spec, rows);
    try {
      // Draws the frozen head, where there is one, besides the row.
      startRow(bank, settings.seed);
      return await use(bank);
    } finally {
      bank.dispose();
    }
  }
}
