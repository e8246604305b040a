import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, makeConfig } from '../../src/config/index.js';
import type { ConfigSources } from '../../src/config/index.js';
import { CONFIG_KEYS, keyRow } from '../../src/config/schema.js';
import { READY_SCENARIOS, SCENARIOS } from '../../src/config/scenarios.js';
import { FltacError } from '../../src/errors.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'fltac-config-'))));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string | Buffer): string {
  const path = join(folder, 'c.yaml');
  writeFileSync(path, text);
  return path;
}

/** The message of the USAGE error that loading ends in. */
function faults(sources: ConfigSources): string {
  try {
    loadConfig({ env: {}, ...sources });
  } catch (error) {
    expect(error).toBeInstanceOf(FltacError);
    expect((error as FltacError).code).toBe('USAGE');
    return (error as FltacError).message;
  }
  throw new Error('the configuration was accepted');
}

const load = (sources: ConfigSources) => loadConfig({ env: {}, ...sources }).config;

describe('precedence', () => {
  it('is flag, then override, then file, then scenario, then common default', () => {
    const path = file('scenario: quickstart\nrounds: 3\nlr: 0.1\nseed: 7\n');
    const config = load({ file: path, overrides: ['lr=0.2', 'seed=8'], flags: { seed: '9' } });
    expect(config).toMatchObject({ seed: 9, lr: 0.2, rounds: 3, loraRank: 4 });
    expect(config.nClients).toBe(SCENARIOS.quickstart.defaults['n_clients']);
    expect(load({ flags: { scenario: 'glue' } }).nClients).toBe(10);
  });

  it('lets a later override win over an earlier one', () => {
    expect(load({ overrides: ['rounds=3', 'rounds=4'] }).rounds).toBe(4);
  });

  it('takes the cache folder from the environment only where the user gives none', () => {
    const env = { HF_HOME: '/somewhere' };
    expect(load({ env }).cacheDir).toBe(join('/somewhere', 'hub'));
    expect(load({ env: { ...env, HF_HUB_CACHE: '/cache' } }).cacheDir).toBe('/cache');
    expect(load({ env, overrides: ['cache_dir=mine'] }).cacheDir).toBe('mine');
    expect(load({}).cacheDir).toBe('./hf_cache');
  });

  it('names the results after scenario and method', () => {
    expect(load({ flags: { scenario: 'glue', method: 'fedit' } }).outputDir).toBe('results/glue_fedit');
  });
});

describe('values', () => {
  it.each(['5e-4', '.0005', '5.0E-04', '0.0005'])('reads %s as a number in file, override and flag', (text) => {
    expect(load({ file: file(`lr: ${text}\n`) }).lr).toBe(5e-4);
    expect(load({ overrides: [`lr=${text}`] }).lr).toBe(5e-4);
    expect(load({ flags: { lr: text } }).lr).toBe(5e-4);
  });

  it('keeps text that looks like a number where a key is text', () => {
    expect(load({ overrides: ['output_dir=2024'], flags: { model_name: '1e3' } })).toMatchObject({
      outputDir: '2024',
      modelName: '1e3',
    });
  });

  it('reads a list as YAML or with commas', () => {
    const tasks = ['rte', 'sst2'];
    expect(load({ overrides: ['scenario=glue', 'tasks=[rte, sst2]'] }).tasks).toEqual(tasks);
    expect(load({ overrides: ['scenario=glue', 'tasks=rte,sst2'] }).tasks).toEqual(tasks);
    expect(load({ file: file('scenario: glue\ntasks:\n- rte\n- sst2\n') }).tasks).toEqual(tasks);
  });

  it('takes the initial adapter as a path, or null for none', () => {
    expect(load({}).initialAdapter).toBeNull();
    expect(load({ overrides: ['initial_adapter=a/b'] }).initialAdapter).toBe('a/b');
    expect(load({ overrides: ['initial_adapter=null'] }).initialAdapter).toBeNull();
  });

  it('takes a device map from a file, an override or TypeScript, or null for none', () => {
    const deviceMap = { embedding: 'cuda:0', 'layers.0-11': 'cpu:1', output: 'cuda:0' };
    expect(load({}).deviceMap).toBeNull();
    const yaml = 'device_map:\n  embedding: cuda:0\n  layers.0-11: cpu:1\n  output: cuda:0\n';
    expect(load({ file: file(yaml) }).deviceMap).toEqual(deviceMap);
    const text = 'device_map={embedding: cuda:0, layers.0-11: cpu:1, output: cuda:0}';
    expect(load({ overrides: [text] }).deviceMap).toEqual(deviceMap);
    expect(makeConfig({ deviceMap }, {}).deviceMap).toEqual(deviceMap);
  });

  it.each(['auto', 'cpu', 'cuda', 'cuda:3', 'cpu:1', 'portable'])('takes %s for a device', (device) => {
    expect(load({ flags: { device } }).device).toBe(device);
  });

  it('cannot be changed after loading', () => {
    const config = load({ overrides: ['device_map={embedding: cpu, layers.0: cpu, output: cpu}', 'model_name=x'] });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.tasks)).toBe(true);
    expect(Object.isFrozen(config.deviceMap)).toBe(true);
  });

  // One value outside each key's range; a key without a row here would go untested.
  const wrong: Record<string, unknown> = {
    ...{
      scenario: 'clue',
      model_name: ' ',
      model_revision: '',
      method: 'FedIT',
      baseline_method: 'fltac',
      tasks: [],
      data: {},
    },
    ...{ n_clients: 0, dirichlet_alpha: 0, min_frac: 1, partition_order: 'random', seed: -1 },
    ...{
      rounds: 1.5,
      local_steps: 0,
      lr: 0,
      full_lr: 0,
      weight_decay: -1,
      batch_size: 0,
      max_len: 3,
      fedit_steps: 'all',
      centralized_steps: 1,
    },
    ...{ lora_rank: 0, lora_alpha: -1, lora_dropout: 1, target_modules: ['a', 'a'], train_head: 'yes' },
    ...{ initial_adapter: 3, weights: 'equal', kmeans_k: 'all', kmeans_space: 'lora', kmeans_metric: 'dot' },
    ...{ aggregation: 'median', upload_format: 'int4', token_cache: 'yes' },
    ...{ kmeans_standardize: 'yes', kmeans_n_init: 0, kmeans_max_iter: 0, kmeans_tol: -1e-9 },
    ...{ eval_every: 0, max_eval_batches: -2, eval_batch_size: NaN, output_dir: '', cache_dir: '', save_every: -1 },
    ...{ participation: 1.5, dropout_clients: 1, straggler_clients: 1.5, min_clients: 0, on_client_failure: 'ignore' },
    ...{ record_distances: -1, report: 'maybe', tensorboard: 'maybe', max_update_norm: 0, save_submissions: 'all' },
    ...{
      cohort: 'all',
      threads: -1,
      device: 'gpu',
      dtype: 'float8',
      device_map: 'cpu',
      gradient_checkpointing: 1,
      tf32: 2,
    },
  };

  it.each(CONFIG_KEYS)('outside the range of %s is refused, saying what is expected', (key) => {
    const value = wrong[key];
    expect(value).toBeDefined();
    const text = JSON.stringify(value).replace('null', '.nan');
    expect(faults({ file: file(`${key}: ${text}\n`) })).toContain(`:1: ${key}: expected ${keyRow(key).kind.expected}`);
  });

  it.each(['.inf', '.nan', '1e999', '"5e-4"', 'null', '[1]', '{a: 1}'])('refuses %s for a number', (text) => {
    expect(faults({ file: file(`lr: ${text}\n`) })).toContain('lr: expected a number above 0, found');
  });
});

describe('faults', () => {
  it('are all told at once, each with its place', () => {
    const path = file('# header\n\nn_client: 5\nrounds: many\n\nmethod: fedavg\n3: 4\n');
    const message = faults({
      file: path,
      overrides: ['lr=fast', 'learning_rate=1', 'oops', '=1', 'tasks=[a'],
      flags: { batch_size: '-4', device: 'gpu' },
      unknownFlags: ['--rond', '--eval-batch-size'],
      knownFlags: ['--rounds', '--lr'],
    });
    const lines = message.split('\n').map((line) => line.trim());
    expect(lines[0]).toBe('13 problems:');
    expect(lines).toContain(`${path}:3: n_client is not a config key; did you mean n_clients?`);
    expect(lines).toContain(`${path}:4: rounds: expected an integer, 1 or more, found the text "many"`);
    expect(lines).toContain(
      `${path}:6: method: expected one of fltac, fedit, local, oracle, centralized, full, none, found the text "fedavg"`,
    );
    expect(lines).toContain(`${path}:7: expected a config key, found 3`);
    expect(lines).toContain('--override lr=fast: expected a number above 0, found the text "fast"');
    expect(lines).toContain('--override learning_rate=1: learning_rate is not a config key; did you mean lr?');
    expect(lines).toContain('--override oops: expected key=value, such as lr=5e-4');
    expect(lines).toContain('--override =1: an empty name is not a config key');
    expect(message).toMatch(/--override tasks=\[a: expected a list of .*not valid YAML/);
    expect(lines).toContain('--batch-size: expected an integer, 1 or more, found -4');
    expect(lines).toContain(
      '--device: expected auto, cpu, cuda (the first CUDA device) or a device such as cuda:1, found the text "gpu"; ' +
        'did you mean cpu?',
    );
    expect(lines).toContain('--rond: is not a flag of this command; did you mean --rounds?');
    expect(lines).toContain(
      '--eval-batch-size: is not a flag of this command; give it as --override eval_batch_size=…',
    );
  });

  it('of a losing source are told too', () => {
    expect(faults({ overrides: ['lr=fast'], flags: { lr: '0.1' } })).toContain('--override lr=fast');
  });

  it('say what method full cannot have, and warn of what has no effect with it', () => {
    const full = 'method=full';
    expect(faults({ overrides: [full, 'initial_adapter=a'] })).toContain('which starts from the backbone itself');
    expect(faults({ overrides: [full, 'baseline_method=local'] })).toContain('compare --methods full,local runs both');
    const { config, warnings } = loadConfig({ overrides: [full, 'lr=1e-3', 'lora_rank=8', 'full_lr=1e-4'], env: {} });
    expect(config).toMatchObject({ method: 'full', saveEvery: 0, fullLr: 1e-4, baselineMethod: 'none' });
    expect(warnings).toEqual(
      ['lr=1e-3', 'lora_rank=8'].map((given) => expect.stringMatching(`^--override ${given} has no effect`) as string),
    );
    expect(loadConfig({ overrides: ['full_lr=2e-4'], env: {} }).warnings).toHaveLength(1);
  });

  it('name a foreign task and the nearest right one', () => {
    const message = faults({ overrides: ['scenario=glue', 'tasks=[sst2, rt]'] });
    expect(message).toContain(
      'expected tasks of scenario glue (sst2, mrpc, qqp, qnli, rte), found rt; did you mean rte?',
    );
  });

  it("hold a known model's limits before anything is downloaded", () => {
    const sources = { flags: { scenario: 'glue', max_len: '513', lora_rank: '769' } };
    const message = faults(sources);
    expect(message).toContain('--max-len: expected at most 512 tokens');
    expect(message).toContain('--lora-rank: expected a rank of at most 768');
  });

  it('of a device map are told together, with its place, and those of a known model too', () => {
    const path = file('scenario: glue\ndevice_map: {encoder: cpu, layers.0-3: gpu, layers.2-12: cpu}\n');
    expect(faults({ file: path })).toMatch(
      /c\.yaml:2: device_map: the device map does not fit: "encoder" is no part.*"gpu".*layer 2 is named twice.*past the last layer, 11.*no device is given for embedding, output/,
    );
    const text = 'device_map={embedding: {a: cpu}}';
    expect(faults({ overrides: [text] })).toContain('or null for none, found a mapping');
  });

  it('include misspelt names given from TypeScript', () => {
    expect(() => makeConfig({ nClient: 3 } as never)).toThrow('nClient: is not a config key; did you mean nClients?');
    expect(makeConfig({ scenario: 'glue', nClients: 3 }).nClients).toBe(3);
  });
});

describe('files', () => {
  it.each([
    ['lr: 1\nlr: 2\n', /c\.yaml:2:1: not valid YAML: duplicated mapping key/],
    ['tasks: [a\n', /c\.yaml:\d+:\d+: not valid YAML/],
    ['lr: !!js/function x\n', /c\.yaml:1:\d+: not valid YAML: unknown scalar tag/],
    ['- lr\n', /c\.yaml: expected a mapping of keys to values, found the list \[lr\]/],
    ['just text\n', /c\.yaml: expected a mapping of keys to values, found the text "just text"/],
    ['', /c\.yaml: not valid YAML: .*empty/],
    ['lr: 1\n---\nlr: 2\n', /c\.yaml: not valid YAML: .*single document/],
  ])('that are not one YAML mapping are refused with their place: %j', (text, message) => {
    expect(faults({ file: file(text) })).toMatch(message);
  });

  it.each(['data: &a\n  mood: *a\n', 'tasks: &a [sst2, [*a]]\n', 'data: {x: &b {y: {z: *b}}}\n', '&a {? *a : 1}\n'])(
    'with a value that is a part of itself are refused: %j',
    (text) => {
      expect(faults({ file: file(text) })).toContain('an alias stands for a value that it is itself a part of');
    },
  );

  it('with a word of any length in what is wrong with them are told in a line', () => {
    expect(faults({ file: file(`tasks: *${'x'.repeat(100_000)}\n`) }).length).toBeLessThan(500);
  });

  it('with a value that stands twice are taken', () => {
    const task = '{train: a.csv, validation: 0.1, text: t, label: l}';
    const { data } = load({ file: file(`scenario: custom\ndata:\n  x: &t ${task}\n  y: *t\n`) });
    expect(Object.keys(data ?? {})).toEqual(['x', 'y']);
  });

  it('with a bomb of aliases are refused quickly', () => {
    const levels = Array.from({ length: 40 }, (_, i) => `- &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`);
    const started = performance.now();
    expect(faults({ file: file(`tasks:\n- &a0 [x, x]\n${levels.join('\n')}\n`) })).toContain('aliases exceeded');
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('above a mebibyte are refused without being parsed', () => {
    expect(faults({ file: file(Buffer.alloc(1024 * 1024 + 1, '#')) })).toContain(
      'at most 1048576 bytes, found 1048577',
    );
  });

  it('that are missing, or a folder, are named', () => {
    expect(faults({ file: join(folder, 'none.yaml') })).toMatch(/none\.yaml: the configuration cannot be read: ENOENT/);
    expect(faults({ file: folder })).toContain(`${folder}: the configuration cannot be read`);
  });

  it('with a key that JavaScript objects have by nature are not special', () => {
    expect(faults({ file: file('__proto__: 1\nconstructor: 2\ntoString: 3\n') })).toContain('3 problems');
  });
});

describe('warnings', () => {
  it('tell of a setting without effect, once it differs from the default', () => {
    const { warnings } = loadConfig({ overrides: ['fedit_steps=full', 'kmeans_tol=1e-4'], env: {} });
    expect(warnings).toEqual([
      '--override fedit_steps=full has no effect: it matters only with method fedit, not with fltac',
    ]);
    expect(loadConfig({ overrides: ['fedit_steps=full', 'method=fedit'], env: {} }).warnings).toEqual([]);
  });

  it.each([
    ['centralized', ['participation=3', 'dropout_clients=0.1', 'straggler_clients=0.1', 'min_clients=2']],
    ['none', ['participation=0.5']],
    ['local', ['upload_format=int8', 'max_update_norm=1']],
  ])('tell of what %s has neither clients nor a server for, unless its baseline does', (method, overrides) => {
    const load = (...more: string[]) => loadConfig({ overrides: [`method=${method}`, ...overrides, ...more], env: {} });
    expect(load().warnings).toEqual(
      overrides.map((given) => expect.stringMatching(`^--override ${given} has no effect`) as string),
    );
    expect(load('baseline_method=fedit').warnings).toEqual([]);
  });
});

describe('scenarios', () => {
  it.each(READY_SCENARIOS.filter((name) => name !== 'custom'))(
    '%s has defaults that pass the checks and are keys',
    (scenario) => {
      expect(load({ flags: { scenario } }).tasks).toEqual(SCENARIOS[scenario].tasks);
      for (const key of Object.keys(SCENARIOS[scenario].defaults)) expect(CONFIG_KEYS).toContain(key);
    },
  );

  it('glue is as published', () => {
    expect(load({ flags: { scenario: 'glue' } })).toMatchObject({
      ...{ modelName: 'bert-base-uncased', tasks: ['sst2', 'mrpc', 'qqp', 'qnli', 'rte'], method: 'fltac' },
      ...{ loraRank: 4, loraAlpha: 16, loraDropout: 0.05, targetModules: ['query', 'value'], trainHead: true },
      ...{ lr: 5e-4, batchSize: 32, localSteps: 50, rounds: 20, maxLen: 128, weightDecay: 0.01 },
      ...{ evalEvery: 2, maxEvalBatches: 50, evalBatchSize: 64, nClients: 10, dirichletAlpha: 0.5, minFrac: 0.01 },
      ...{ seed: 42, outputDir: 'results/glue_fltac', cacheDir: './hf_cache', partitionOrder: 'listed' },
    });
  });

  it('dolly is as published', () => {
    const { tasks, ...config } = load({ flags: { scenario: 'dolly' } });
    expect(tasks).toEqual([...tasks].sort());
    expect(tasks).toHaveLength(8);
    expect(config).toMatchObject({
      ...{ modelName: 'huggyllama/llama-7b', method: 'fltac', loraRank: 8, loraAlpha: 16, loraDropout: 0.05 },
      ...{ targetModules: ['q_proj', 'v_proj'], trainHead: false, lr: 3e-4, batchSize: 4, localSteps: 30, rounds: 10 },
      ...{ maxLen: 512, evalEvery: 1, maxEvalBatches: 20, evalBatchSize: 4, nClients: 10, dirichletAlpha: 0.5 },
      ...{ minFrac: 0.01, seed: 42, outputDir: 'results/dolly_fltac' },
    });
  });

  it('dolly refuses to train the head', () => {
    expect(faults({ flags: { scenario: 'dolly' }, overrides: ['train_head=true'] })).toContain(
      '--override train_head=true: expected train_head false: scenario dolly trains a language model, whose head stays ' +
        'frozen; found true',
    );
  });

  const FILES = [
    ['glue_bert.yaml', 'glue'],
    ['dolly_llama.yaml', 'dolly'],
  ] as const;

  it.each(FILES)('configs/%s says the same as the defaults of %s', (name, scenario) => {
    const fromFile = load({ file: new URL(`../../configs/${name}`, import.meta.url).pathname });
    expect(fromFile).toEqual(load({ flags: { scenario } }));
  });

  it.each(FILES)('configs/%s leaves the folders to the method and the environment', (name, scenario) => {
    const file = new URL(`../../configs/${name}`, import.meta.url).pathname;
    expect(load({ file, flags: { method: 'fedit' }, env: { HF_HUB_CACHE: 'elsewhere' } })).toMatchObject({
      outputDir: `results/${scenario}_fedit`,
      cacheDir: 'elsewhere',
    });
  });
});
