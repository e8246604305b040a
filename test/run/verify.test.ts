import { createHash } from 'node:crypto';
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RunConfig } from '../../src/config/index.js';
import type { ArchiveDict, ArchiveTensor } from '../../src/engine/types.js';
import { FltacError } from '../../src/errors.js';
import type * as Files from '../../src/run/files.js';
import type * as Journals from '../../src/run/journal.js';
import type { JsonRecord } from '../../src/run/journal.js';
import { trainRun } from '../../src/run/train.js';
import { verifyRun } from '../../src/run/verify/index.js';
import { fakeFace } from '../support/fake-engine.js';
import { fakeConfig, fakeRun, languageConfig, languageRun, readJsonl, type Row } from './support.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-verify-'));
  folder = path.join(root, 'run');
});
afterEach(async () => {
  beforeWrite = undefined;
  await rm(root, { recursive: true });
});

/** What the fake engine's layout is, whatever it is asked for. */
const FAKE_ADAPTER = { loraRank: 1, targetModules: ['query'] };

const at = (name: string) => path.join(folder, name);
const face = fakeFace();
const HEAD = 'base_model.model.classifier.modules_to_save.default.weight';
const FACTOR = 'base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.default.weight';

async function trained(changes: Partial<RunConfig> = {}): Promise<void> {
  await trainRun(fakeConfig(folder, { ...FAKE_ADAPTER, ...changes }), fakeRun().context);
}

/** Told of each write of a record before it: path, and the round where the record has one. */
let beforeWrite: ((file: string, round: unknown) => void) | undefined;
vi.mock('../../src/run/journal.js', async (original) => {
  const real = await original<typeof Journals>();
  class WatchedJournal extends real.Journal {
    override async append(records: readonly JsonRecord[]): Promise<void> {
      beforeWrite?.(this.path, records[0]?.['round']);
      await super.append(records);
    }
  }
  return { ...real, Journal: WatchedJournal };
});
vi.mock('../../src/run/files.js', async (original) => {
  const real = await original<typeof Files>();
  const writeJsonFile: typeof Files.writeJsonFile = async (file, value) => {
    beforeWrite?.(file, (value as Row)['round']);
    return real.writeJsonFile(file, value);
  };
  return { ...real, writeJsonFile };
});

/** Trains until a file of the run would be written, as if the process had been killed then. */
async function killedBefore(name: string, round: number, changes: Partial<RunConfig>): Promise<void> {
  let killed = false;
  beforeWrite = (file, own) => {
    if (file !== at(name) || (own !== undefined && own !== round)) return;
    killed = true;
    throw new FltacError('IO', 'killed');
  };
  await expect(trainRun(fakeConfig(folder, changes), fakeRun().context)).rejects.toThrow('killed');
  beforeWrite = undefined;
  expect(killed).toBe(true);
}

async function verify(evaluate = false): Promise<{ passed: boolean; failed: Record<string, string>; text: string }> {
  const { passed, findings } = await verifyRun({ folder, evaluate }, fakeRun().context);
  const failed = findings.filter(({ status }) => status === 'fail').map(({ check, detail }) => [check, detail]);
  const text = findings.map(({ check, status, detail }) => `${status} ${check}: ${detail}`).join('\n');
  return { passed, failed: Object.fromEntries(failed) as Record<string, string>, text };
}

/** Takes every digest out of the folder, as a forger would who cannot make them fit. */
async function withoutDigests(): Promise<void> {
  await rm(at('manifest.json'));
  await rm(at('checkpoint'), { recursive: true });
  await editJournal('metrics.jsonl', (row) => delete row['proof']);
}

async function editJournal(name: string, change: (row: Row) => unknown): Promise<void> {
  const rows = await readJsonl(at(name));
  rows.forEach(change);
  await writeFile(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

type States = Map<number, Map<string, ArchiveTensor>>;

/** Changes the cluster states of a round's file. */
async function editRound(round: number, change: (states: States) => unknown): Promise<void> {
  const value = (await face.readArchive(at(`adapters_round_${round}.pt`))) as ArchiveDict;
  await change(value.get('cluster_states') as States);
  await face.writeArchive(at(`adapters_round_${round}.pt`), value);
}

async function statesOf(round: number): Promise<States> {
  return ((await face.readArchive(at(`adapters_round_${round}.pt`))) as ArchiveDict).get('cluster_states') as States;
}

const swap = (labels: number[]) => {
  const other = labels.findIndex((label) => label !== labels[0]);
  [labels[0], labels[other]] = [labels[other]!, labels[0]!];
};

const swapStates = (states: States) => {
  const first = states.get(0)!;
  states.set(0, states.get(1)!);
  states.set(1, first);
};

interface Corruption {
  plant: () => Promise<unknown>;
  /** checks that must fail, each with what it says, digests or not */
  caught: Record<string, RegExp>;
  /** whether only an evaluation can tell once digests are gone */
  evaluate?: boolean;
}

const CORRUPTIONS: Record<string, Corruption> = {
  'swapped labels in the journal': {
    plant: () =>
      editJournal('cluster_assignments.jsonl', ({ round, labels }) => round === 2 && swap(labels as number[])),
    caught: {
      assignments: /round 2: clustering_accuracy is 1, the labels give 0\.\d+/,
      'round files': /adapters_round_2\.pt: its labels differ/,
    },
  },
  'swapped labels in a round file': {
    plant: async () => {
      const value = (await face.readArchive(at('adapters_round_3.pt'))) as ArchiveDict;
      swap(value.get('labels') as number[]);
      await face.writeArchive(at('adapters_round_3.pt'), value);
    },
    caught: { 'round files': /adapters_round_3\.pt: its labels differ from cluster_assignments\.jsonl/ },
  },
  'a zeroed adapter layer': {
    plant: () => editRound(3, (states) => states.get(1)!.get(FACTOR)!.data.fill(0)),
    caught: {
      training: /adapters_round_3\.pt: \S+query\.lora_B\S+ of cluster 1 is all zeros/,
      'final adapters': /final\/\w+: \S+query\.lora_B\S+ is not that of adapters_round_3\.pt, cluster 1/,
    },
  },
  'a zeroed layer of an early round': {
    plant: () => editRound(1, (states) => states.get(2)!.get(FACTOR)!.data.fill(0)),
    caught: { training: /adapters_round_1\.pt: \S+lora_B\S+ of cluster 2 is all zeros/ },
  },
  "a stale head, the round before's": {
    plant: async () => {
      const before = await statesOf(1);
      await editRound(2, (states) => states.get(0)!.set(HEAD, before.get(0)!.get(HEAD)!));
    },
    caught: {
      training:
        /adapters_round_2\.pt: \S+classifier\S+weight of cluster 0 was not trained: .* adapters_round_1\.pt, cl/,
    },
  },
  'a stale head, the initial one': {
    plant: async () => {
      const initial = await face.readSafetensors(at('initial_adapter.safetensors'));
      await editRound(3, (states) => states.get(0)!.set(HEAD, initial.get(HEAD)!));
    },
    caught: { training: /classifier\S+weight of cluster 0 was not trained: it is that of the initial adapter/ },
  },
  'an untrained adapter': {
    plant: async () => {
      const initial = await face.readSafetensors(at('initial_adapter.safetensors'));
      await editRound(1, (states) => states.set(0, new Map(initial)));
    },
    caught: { training: /lora_A\S+ of cluster 0 was not trained: it is that of the initial adapter.*and 1 more/ },
  },
  'a truncated round file': {
    plant: () => truncate(at('adapters_round_2.pt'), 300),
    caught: { 'round files': /JSON/ },
  },
  'a round file that is gone': {
    plant: () => rm(at('adapters_round_2.pt')),
    caught: { 'round files': /adapters_round_2\.pt is missing/ },
  },
  'an edited metric': {
    plant: () =>
      editJournal('metrics.jsonl', (row) => row['phase'] === 'eval' && row['round'] === 2 && (row['metric'] = 0.975)),
    caught: { 'metrics, evaluated anew': /round 2, sst2: metrics\.jsonl has the metric 0\.975, the adapters give/ },
    evaluate: true,
  },
  'an edited metric of the untuned backbone': {
    plant: () =>
      editJournal('metrics.jsonl', (row) => row['phase'] === 'eval' && row['round'] === 0 && (row['metric'] = 0.975)),
    caught: { 'metrics, evaluated anew': /round 0, sst2: metrics\.jsonl has the metric 0\.975/ },
    evaluate: true,
  },
  'a metric that no number of rows gives': {
    plant: () =>
      editJournal('metrics.jsonl', (row) => row['phase'] === 'eval' && row['round'] === 3 && (row['metric'] = 0.93)),
    caught: { metrics: /round 3, sst2: the accuracy 0\.93 is no whole number of 40 rows/ },
  },
  'an edited clustering accuracy': {
    plant: () => editJournal('metrics.jsonl', (row) => row['round'] === 1 && (row['clustering_accuracy'] = 0.5)),
    caught: { assignments: /round 1: round_done has clustering_accuracy 0\.5, the assignment 1/ },
  },
  'a loss that is no number': {
    plant: () => editJournal('metrics.jsonl', (row) => row['phase'] === 'local' && (row['loss'] = null)),
    caught: { journals: /metrics\.jsonl:\d+: .*loss/ },
  },
  'a client left out': {
    plant: async () => {
      const rows = await readJsonl(at('metrics.jsonl'));
      const first = rows.findIndex((row) => row['phase'] === 'local');
      await writeFile(
        at('metrics.jsonl'),
        rows
          .filter((_, i) => i !== first)
          .map((row) => `${JSON.stringify(row)}\n`)
          .join(''),
      );
    },
    caught: { metrics: /round 1: \d+ local records, not \d+; round 1: optimizer_steps is/ },
  },
  'a journal that is gone': {
    plant: () => rm(at('metrics.jsonl')),
    caught: { 'round files': /adapters_round_2\.pt is of a round that metrics\.jsonl does not have/ },
  },
  'another client said to have taken part': {
    plant: () =>
      editJournal('metrics.jsonl', (row) => {
        if (row['phase'] === 'local' && row['client'] === 0) row['client'] = 1;
      }),
    caught: { metrics: /round 1, client 1, \w+: two local records/ },
  },
  'rounds out of order': {
    plant: async () => {
      const rows = await readJsonl(at('metrics.jsonl'));
      const text = (some: Row[]) => some.map((row) => `${JSON.stringify(row)}\n`).join('');
      const of = (round: number) => rows.filter((row) => row['round'] === round);
      await writeFile(at('metrics.jsonl'), text([...of(0), ...of(2), ...of(1), ...of(3)]));
    },
    caught: { metrics: /is of round 2, where round 1 is expected/ },
  },
  'a journal cut back to an earlier round': {
    plant: async () => {
      for (const name of ['metrics.jsonl', 'cluster_assignments.jsonl', 'geometry.jsonl']) {
        const rows = (await readJsonl(at(name))).filter((row) => row['round'] !== 3);
        await writeFile(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
      }
      await rm(at('adapters_round_3.pt'));
    },
    caught: { 'final adapters': /final\/ is there, but only 2 of 3 rounds are recorded/ },
  },
  'fewer bytes sent': {
    plant: () =>
      editJournal('metrics.jsonl', (row) => {
        if (row['phase'] === 'communication' && row['round'] === 2 && row['client'] === 1) row['up'] = 4;
      }),
    caught: { communication: /round 2: client 1 sent \d adapters, 4 bytes up and \d+ down, where client 1 with/ },
  },
  'a mean loss below what its first and last allow': {
    plant: () =>
      editJournal('metrics.jsonl', (row) => row['phase'] === 'local' && row['round'] === 1 && (row['loss'] = 1e-3)),
    caught: { metrics: /round 1, client 0, sst2: 0\.001 is not the mean of 4 losses from/ },
  },
  'an easier majority floor': {
    plant: () =>
      editJournal(
        'metrics.jsonl',
        (row) => row['phase'] === 'eval' && row['round'] === 3 && (row['majority_floor'] = 0.25),
      ),
    caught: { metrics: /round 3, sst2: majority_floor is 0\.25, before any training it was 0\.\d+/ },
  },
  'fewer rows evaluated': {
    plant: () => editJournal('metrics.jsonl', (row) => row['phase'] === 'eval' && (row['rows'] = 4000)),
    caught: { 'metrics, evaluated anew': /round 0, sst2: metrics\.jsonl has rows 4000, found are 40/ },
    evaluate: true,
  },
  'an edited inertia': {
    plant: () => editJournal('cluster_assignments.jsonl', (row) => row['round'] === 1 && (row['inertia'] = 1)),
    caught: { measures: /round 1: inertia is 1, labels and distances give \d/ },
  },
  'an edited distance': {
    plant: () =>
      editJournal('geometry.jsonl', (row) => {
        const bytes = Buffer.from(row['squared_distances'] as string, 'base64');
        for (let i = 0; i < bytes.length; i += 4) bytes.writeFloatLE(2 * bytes.readFloatLE(i), i);
        row['squared_distances'] = bytes.toString('base64');
      }),
    caught: { measures: /round 1: inertia is \S+, labels and distances give/ },
  },
  'a distance left out': {
    plant: () =>
      editJournal(
        'geometry.jsonl',
        (row) => (row['squared_distances'] = (row['squared_distances'] as string).slice(8)),
      ),
    caught: { journals: /geometry\.jsonl:1: expected float32 distances of \d+ pairs, found \d+ bytes/ },
  },
  'an outlier that nobody was told of': {
    plant: () =>
      editJournal('cluster_assignments.jsonl', ({ round, update_norms: norms }) => {
        if (round === 2) (norms as number[])[3]! *= 1000;
      }),
    caught: { measures: /round 2: outliers are not those that update_norms and geometry\.jsonl give/ },
  },
  'adapters of two clusters swapped': {
    plant: () => editRound(3, swapStates),
    caught: { 'final adapters': /is not that of adapters_round_3\.pt, cluster \d/ },
  },
  'adapters of two clusters swapped in an early round': {
    plant: () => editRound(2, swapStates),
    caught: { 'metrics, evaluated anew': /round 2, \w+: metrics\.jsonl has the \w+ \S+, the adapters give/ },
    evaluate: true,
  },
  'another scale in a final adapter': {
    plant: async () => {
      const file = at('final/mrpc/adapter_config.json');
      await writeFile(file, (await readFile(file, 'utf8')).replace(/"lora_alpha": \d+/, '"lora_alpha": 1'));
    },
    caught: { 'final adapters': /final\/mrpc: adapter_config\.json has lora_alpha 1/ },
  },
  'a line cut off': {
    plant: () => appendFile(at('metrics.jsonl'), '{"round":3,'),
    caught: { metrics: /1 lines follow the last round/ },
  },
  'another partition': {
    plant: async () => {
      const partition = JSON.parse(await readFile(at('partition.json'), 'utf8')) as { rows: number[][] };
      [partition.rows[0]![0], partition.rows[1]![0]] = [partition.rows[1]![0]!, partition.rows[0]![0]!];
      await writeFile(at('partition.json'), JSON.stringify(partition));
    },
    caught: { partition: /partition\.json: rows is not what the seed gives/ },
  },
  'another seed': {
    plant: async () => {
      const text = await readFile(at('config.yaml'), 'utf8');
      await writeFile(at('config.yaml'), text.replace('seed: 42', 'seed: 43'));
    },
    caught: { partition: /seed is not what the seed gives; .*sha256/ },
  },
  "another task's final adapter": {
    plant: async () => {
      const other = await readFile(at('final/sst2/adapter_model.safetensors'));
      await writeFile(at('final/rte/adapter_model.safetensors'), other);
    },
    caught: { 'final adapters': /final\/rte: \S+ is not that of adapters_round_3\.pt, cluster \d/ },
  },
};

describe('verify', () => {
  it('passes a clean run wholly, digests or not, and evaluates it to the same digits', async () => {
    await trained({ saveSubmissions: true });
    const { passed, text } = await verify(true);
    expect(text).not.toMatch(/^(fail|skip)/m);
    expect(passed).toBe(true);
    expect(text).toContain('9 clusters are the weighted means of their submissions');
    expect(text).toMatch(/metrics, evaluated anew: 9 metrics and losses, equal in every digit/);
    await withoutDigests();
    const bare = await verify(true);
    expect([bare.passed, bare.failed]).toEqual([true, {}]);
    expect(bare.text).toMatch(/skip manifest: .*removed.*\n(.*\n)*skip round proofs/);
  });

  it.each(Object.entries(CORRUPTIONS))('catches %s by itself', async (_, { plant, caught, evaluate = false }) => {
    await trained();
    await withoutDigests();
    await plant();
    const { passed, failed } = await verify(evaluate);
    expect(passed).toBe(false);
    for (const [check, detail] of Object.entries(caught))
      expect({ check, text: failed[check] }).toMatchObject({ check, text: expect.stringMatching(detail) as string });
  });

  it.each([
    ['of another seed', { seed: 43 }, /it is of a run with seed 43, config\.yaml has 42; .*another partition/],
    ['of fewer rounds', { rounds: 2 }, /it is of round 2, metrics\.jsonl has 3; .*goes on after the last round/],
    ['of another method', { method: 'oracle' }, /it is of a run with method "oracle", config\.yaml has "fltac"/],
  ] as const)('catches a checkpoint %s', async (_, changes, message) => {
    await trained();
    const other = path.join(root, 'other');
    await trainRun(fakeConfig(other, { ...FAKE_ADAPTER, ...changes }), fakeRun().context);
    await rm(at('checkpoint'), { recursive: true });
    await cp(path.join(other, 'checkpoint'), at('checkpoint'), { recursive: true });
    expect((await verify()).failed['checkpoint']).toMatch(message);
  });

  it('catches adapters of a checkpoint that changed places, and those that do not have their digest', async () => {
    await trained();
    const file = at('checkpoint/round_3.safetensors');
    const tensors = await face.readSafetensors(file);
    const [first, second] = [tensors.get('adapters.0')!, tensors.get('adapters.1')!];
    await face.writeSafetensors(file, new Map([...tensors, ['adapters.0', second], ['adapters.1', first]]));
    expect((await verify()).failed).toEqual({
      checkpoint: expect.stringMatching(/round_3\.safetensors: its SHA-256 is not/) as string,
    });
    const state = at('checkpoint/state.json');
    const sha256 = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    const record = JSON.parse(await readFile(state, 'utf8')) as { vectors: object };
    await writeFile(state, JSON.stringify({ ...record, vectors: { ...record.vectors, sha256 } }));
    expect((await verify()).failed).toEqual({
      checkpoint: 'its adapter 0 is not that of adapters_round_3.pt; its adapter 1 is not that of adapters_round_3.pt',
    });
  });

  it('catches a journal cut back to an earlier round by the checkpoint', async () => {
    await trained();
    await rm(at('manifest.json'));
    await CORRUPTIONS['a journal cut back to an earlier round']!.plant();
    expect((await verify()).failed['checkpoint']).toMatch(/it is of round 3, metrics\.jsonl has 2; metrics\.jsonl has/);
  });

  it('finds submissions that changed places between clients', async () => {
    await trained({ saveSubmissions: true });
    const file = at('submissions_round_2.safetensors');
    const tensors = await face.readSafetensors(file);
    const [first, second] = [tensors.get('0.sst2')!, tensors.get('1.sst2')!];
    await face.writeSafetensors(file, new Map([...tensors, ['0.sst2', second], ['1.sst2', first]]));
    expect((await verify()).failed['aggregates']).toMatch(/^round 2, cluster \d: value \d+ is \S+, the weighted mean/);
  });

  it.each(Object.entries(CORRUPTIONS))('catches %s by the digests of manifest.json', async (_, { plant }) => {
    await trained();
    await plant();
    const { failed } = await verify();
    expect(failed['manifest']).toMatch(/has another SHA-256|has \d+ bytes, not|is missing/);
  });

  it.each(['an edited metric', 'swapped labels in a round file', 'a zeroed layer of an early round'])(
    "catches %s by the rounds' proofs when manifest.json is gone",
    async (name) => {
      await trained();
      await rm(at('manifest.json'));
      await CORRUPTIONS[name]!.plant();
      expect((await verify()).failed['round proofs']).toMatch(
        /round \d: (its lines in|adapters_round_\d\.pt).* changed/,
      );
    },
  );

  it('finds an average that is not the weighted mean of the kept submissions', async () => {
    await trained({ saveSubmissions: true });
    await editRound(2, (states) => (states.get(1)!.get(HEAD)!.data[2]! *= 1.001));
    const { failed } = await verify();
    expect(failed['aggregates']).toMatch(
      /^round 2, cluster 1: value 8 is \S+, the weighted mean of its \d submissions \S+$/,
    );
  });

  it.each([
    { method: 'fedit' },
    { method: 'local' },
    { method: 'oracle', weights: 'uniform' },
    { method: 'none' },
    { saveEvery: 2 },
    { participation: 0.6, rounds: 6 },
    { participation: 3, dropoutClients: 0.5, stragglerClients: 0.5, minClients: 2, rounds: 8 },
    { partitionOrder: 'sorted', initialAdapter: null },
    { aggregation: 'delta_w' },
    { aggregation: 'ffa' },
    { aggregation: 'fedsa', participation: 0.6 },
    { method: 'centralized', participation: 2 },
    { uploadFormat: 'int8', maxUpdateNorm: 0.05 },
    { method: 'local', maxUpdateNorm: 0.05 },
  ] as const)('passes %j', async (changes) => {
    await trained({ ...changes, saveSubmissions: true });
    expect((await verify(true)).failed).toEqual({});
  });

  it('finds an A that moved, though the aggregation froze it', async () => {
    await trained({ aggregation: 'ffa' });
    await withoutDigests();
    await editRound(2, (states) => (states.get(1)!.get(FACTOR.replace('lora_B', 'lora_A'))!.data[0]! += 0.5));
    const { failed } = await verify();
    expect(failed['training']).toMatch(
      /^adapters_round_2\.pt: \S+lora_A\S+ of cluster 1 is frozen, but not the initial one/,
    );
  });

  it('passes a run of a language model', async () => {
    await trainRun(languageConfig(folder, FAKE_ADAPTER), languageRun().context);
    const { passed, findings } = await verifyRun({ folder, evaluate: true }, languageRun().context);
    expect(findings.filter(({ status }) => status === 'fail')).toEqual([]);
    expect(passed).toBe(true);
  });

  it('keeps what it found in the files where the data to evaluate on cannot be had', async () => {
    await trained();
    const { context } = fakeRun();
    const gone = new FltacError('NETWORK', 'the Hub cannot be reached');
    const resolveModel = () => Promise.reject(gone);
    const { passed, findings } = await verifyRun(
      { folder, evaluate: true },
      { ...context, parts: { ...context.parts!, resolveModel } },
    );
    expect(passed).toBe(false);
    expect(findings.filter(({ status }) => status === 'fail')).toEqual([
      { check: 'evaluation', status: 'fail', detail: 'the Hub cannot be reached' },
    ]);
    expect(findings.length).toBeGreaterThan(5);
  });

  it('checks an interrupted run as far as it came', async () => {
    const run = fakeRun();
    const train = run.engine.train.bind(run.engine);
    let calls = 0;
    run.engine.train = (...args) => {
      calls += 1;
      if (calls === 5) run.controller.abort();
      return train(...args);
    };
    await expect(trainRun(fakeConfig(folder, { ...FAKE_ADAPTER, cohort: 8 }), run.context)).rejects.toMatchObject({
      code: 'ABORTED',
    });
    const { passed, text } = await verify();
    expect(passed).toBe(true);
    expect(text).toMatch(/pass metrics: 2 of 3 rounds are complete \(interrupted or still running\)/);
    expect(text).toMatch(/skip final adapters: the run writes them at its end/);
  });

  it.each([
    ['cluster_assignments.jsonl', 2],
    ['metrics.jsonl', 2],
    ['checkpoint/state.json', 2],
    ['checkpoint/state.json', 3],
    ['final/mrpc/adapter_config.json', 3],
    ['manifest.json', 3],
  ])('passes a run that was killed before it wrote %s of round %i', async (name, round) => {
    const changes = { ...FAKE_ADAPTER, participation: 0.6, dropoutClients: 0.3 } as const;
    await killedBefore(name, round, changes);
    const { failed, text } = await verify();
    expect(failed, text).toEqual({});
    expect(text).toMatch(/^skip manifest: /);
  });

  it.each(['deleted', 'truncated'])('passes over the training of a run whose round files were all %s', async (how) => {
    await trained();
    for (const round of [1, 2, 3]) {
      const file = at(`adapters_round_${round}.pt`);
      await (how === 'deleted' ? rm(file) : truncate(file, 10));
    }
    const { failed, text } = await verify();
    expect(Object.keys(failed)).toContain('round files');
    expect(text).toMatch(/^skip training: there is no round file that can be read$/m);
  });

  it('passes over what a run that was killed in its first round has nothing of', async () => {
    await killedBefore('cluster_assignments.jsonl', 1, FAKE_ADAPTER);
    const { failed, text } = await verify();
    expect(failed).toEqual({});
    for (const check of ['communication', 'round files', 'training', 'metrics', 'assignments', 'measures'])
      expect(text).toMatch(new RegExp(`^skip ${check}: `, 'm'));
  });

  it('passes over round files where no complete round was due to save its adapters', async () => {
    await killedBefore('metrics.jsonl', 2, { ...FAKE_ADAPTER, saveEvery: 3 });
    const { failed, text } = await verify();
    expect(failed).toEqual({});
    expect(text).toMatch(/^skip round files: no complete round was due to save its adapters$/m);
  });

  it('passes a run that was resumed to be evaluated on other rows, and holds its rounds to those', async () => {
    const before = { ...FAKE_ADAPTER, evalEvery: 1, evalBatchSize: 8 } as const;
    await trained({ ...before, rounds: 2, maxEvalBatches: 1 });
    const after = fakeConfig(folder, { ...before, rounds: 4, maxEvalBatches: 2 });
    await trainRun(after, fakeRun({ resume: true }).context);
    const { failed, text } = await verify(true);
    expect(failed).toEqual({});
    expect(text).toContain('6 metrics and losses, equal in every digit; 3 rounds were evaluated on other rows');
    await editJournal('metrics.jsonl', (row) => row['phase'] === 'eval' && row['round'] === 4 && (row['rows'] = 8));
    expect((await verify()).failed['metrics']).toMatch(/^round 4, sst2: rows is 8, in round 3 it was 16/);
  });

  it.each(['cpu', 'threads', 'device'])(
    'holds a run that went on with another %s to what rounding allows',
    async (field) => {
      await trained();
      const made = JSON.parse(await readFile(at('environment.json'), 'utf8')) as Row;
      const resumed = [{ after_round: 2, started: 'later', [field]: 'another' }];
      await writeFile(at('environment.json'), JSON.stringify({ ...made, resumed }));
      expect((await verify(true)).text).toMatch(/^pass metrics, evaluated anew: .* equal but for rounding/m);
    },
  );

  it("passes a run that was killed in the middle of a journal's line", async () => {
    await killedBefore('checkpoint/state.json', 2, FAKE_ADAPTER);
    for (const name of ['metrics.jsonl', 'cluster_assignments.jsonl', 'geometry.jsonl']) {
      const bytes = await readFile(at(name));
      await truncate(at(name), bytes.length - 20);
      expect((await verify()).failed, name).toEqual({});
    }
  });

  it("checks a baseline's folder too", async () => {
    await trained({ baselineMethod: 'fedit' });
    expect((await verify(true)).failed).toEqual({});
    folder = path.join(folder, 'baseline_fedit');
    await editRound(3, (states) => states.get(0)!.get(FACTOR)!.data.fill(0));
    folder = path.dirname(folder);
    expect((await verify()).failed['baseline_fedit: training']).toMatch(/all zeros/);
  });

  it('passes over a baseline that was killed before it began, and misses the settings of one that ran', async () => {
    await trained({ baselineMethod: 'fedit', rounds: 1 });
    await rm(at('baseline_fedit/config.yaml'));
    expect((await verify()).failed['baseline_fedit: run']).toMatch(/^config\.yaml is missing beside .*metrics\.jsonl/);
    await rm(at('baseline_fedit'), { recursive: true });
    await mkdir(at('baseline_fedit'));
    for (const left of [undefined, 'environment.json', 'config.yaml.tmp-12000001']) {
      if (left !== undefined) await writeFile(at(`baseline_fedit/${left}`), '{}');
      const { failed, text } = await verify();
      expect(failed).toEqual({});
      expect(text).toContain('skip baseline_fedit: run: it was killed before it began');
    }
  });

  it('refuses a folder that a run works in now, and takes one whose run was killed', async () => {
    await trained();
    await writeFile(at('run.lock'), `${process.pid} ${os.hostname()}`);
    await expect(verify()).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/^a run is working in .*\/run: verify it when that run has ended/) as string,
    });
    await writeFile(at('run.lock'), `999999999 ${os.hostname()}`);
    expect((await verify()).failed).toEqual({});
  });

  it('refuses a folder that is no run', async () => {
    await expect(verifyRun({ folder: root }, fakeRun().context)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/is not a run's folder: it has no config\.yaml/) as string,
    });
  });
});
