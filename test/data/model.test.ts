import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeConfig } from '../../src/config/load.js';
import { resolveModel, type ResolvedModel } from '../../src/data/scenario.js';
import { temporaryFolder } from '../support/files.js';
import { folderOf, hubOf, keptLog } from '../support/hub.js';

const NEEDED = { 'config.json': '{"model_type": "bert"}', 'tokenizer.json': '{}' };
const HUB_NAME = 'made-up/model';

/** The files of a model as the Hub server takes them. */
function onHub(files: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([name, content]) => [`models/${HUB_NAME}/${name}`, content]));
}

async function resolveFrom(modelName: string, cacheDir = temporaryFolder()): Promise<ResolvedModel> {
  return resolveModel(makeConfig({ scenario: 'glue', modelName, cacheDir }), { log: keptLog() });
}

beforeEach(() => {
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('resolveModel on the Hub', () => {
  it('downloads config, tokenizer and weights, and nothing else', async () => {
    const files = {
      ...NEEDED,
      'vocab.txt': '[PAD]',
      'model.safetensors': 'w',
      'pytorch_model.bin': 'b',
      'README.md': '#',
    };
    const server = await hubOf(onHub(files));
    vi.stubEnv('HF_ENDPOINT', server.url);
    const model = await resolveFrom(HUB_NAME);
    expect(model).toMatchObject({ id: HUB_NAME, revision: expect.stringMatching(/^[0-9a-f]{40}$/) as string });
    expect(readFileSync(join(model.folder, 'model.safetensors'), 'utf8')).toBe('w');
    const fetched = server.requests.flatMap((request) => /\/resolve\/[0-9a-f]+\/(.*)$/.exec(request.path)?.[1] ?? []);
    expect(fetched.sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json', 'vocab.txt']);
  });

  it('asks an image model for its preprocessor, not for a tokenizer', async () => {
    const files = {
      'config.json': '{"model_type": "vit"}',
      'preprocessor_config.json': '{}',
      'model.safetensors': 'w',
      'vocab.txt': '[PAD]',
    };
    const server = await hubOf(onHub(files));
    vi.stubEnv('HF_ENDPOINT', server.url);
    const config = makeConfig({ scenario: 'cifar', modelName: HUB_NAME, cacheDir: temporaryFolder() });
    await resolveModel(config, { log: keptLog() });
    const fetched = server.requests.flatMap((request) => /\/resolve\/[0-9a-f]+\/(.*)$/.exec(request.path)?.[1] ?? []);
    expect(fetched.sort()).toEqual(['config.json', 'model.safetensors', 'preprocessor_config.json']);
    const local = folderOf({ 'config.json': '{}', 'model.safetensors': 'w' });
    await expect(resolveModel({ ...config, modelName: local }, { log: keptLog() })).resolves.toMatchObject({
      folder: local,
    });
  });

  it('shows config.json to the caller before it looks for anything else', async () => {
    vi.stubEnv('HF_ENDPOINT', (await hubOf(onHub({ 'config.json': '{"model_type": "vit"}' }))).url);
    const config = makeConfig({ scenario: 'glue', modelName: HUB_NAME, cacheDir: temporaryFolder() });
    const refuse = () => {
      throw new Error('wrong kind');
    };
    await expect(resolveModel(config, { log: keptLog() }, refuse)).rejects.toThrow('wrong kind');
    const local = folderOf({ 'config.json': '{}' });
    await expect(resolveModel({ ...config, modelName: local }, { log: keptLog() }, refuse)).rejects.toThrow(
      'wrong kind',
    );
  });

  it('downloads the shards that an index names, and finds them offline', async () => {
    const index = JSON.stringify({
      weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors', c: 'model-1.safetensors' },
    });
    const files = {
      ...NEEDED,
      'model.safetensors.index.json': index,
      'model-1.safetensors': '1',
      'model-2.safetensors': '2',
    };
    const server = await hubOf(onHub({ ...files, 'model-3.safetensors': '3' }));
    vi.stubEnv('HF_ENDPOINT', server.url);
    const cache = temporaryFolder();
    const model = await resolveFrom(HUB_NAME, cache);
    expect(server.requests.some((request) => request.path.includes('model-3'))).toBe(false);
    server.reset();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await resolveFrom(HUB_NAME, cache)).toEqual(model);
    expect(server.requests).toEqual([]);
  });

  it('refuses a model without safetensors before it downloads weights', async () => {
    const server = await hubOf(onHub({ ...NEEDED, 'pytorch_model.bin': 'b' }));
    vi.stubEnv('HF_ENDPOINT', server.url);
    await expect(resolveFrom(HUB_NAME)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(
        /made-up\/model has no model.safetensors but only pytorch_model.bin: .* safetensors only/,
      ) as string,
    });
    const fetched = server.requests.filter((request) => request.path.includes('/resolve/'));
    expect(fetched.every((request) => request.path.endsWith('/config.json'))).toBe(true);
  });

  it('shows the config before it downloads weights, and passes on what the check throws', async () => {
    const server = await hubOf(onHub({ ...NEEDED, 'model.safetensors': 'w', 'generation_config.json': '{}' }));
    vi.stubEnv('HF_ENDPOINT', server.url);
    const config = makeConfig({ scenario: 'glue', modelName: HUB_NAME, cacheDir: temporaryFolder() });
    const shown: string[] = [];
    const refuse = (text: string): never => {
      shown.push(text);
      throw new Error('not this one');
    };
    await expect(resolveModel(config, { log: keptLog() }, refuse)).rejects.toThrow('not this one');
    expect(shown).toEqual([NEEDED['config.json']]);
    expect(server.requests.some((request) => request.path.endsWith('model.safetensors'))).toBe(false);
    const { folder } = await resolveModel(config, { log: keptLog() }, (text) => void shown.push(text));
    expect(shown).toHaveLength(2);
    expect(readFileSync(join(folder, 'generation_config.json'), 'utf8')).toBe('{}');
  });

  it.each([
    [
      { 'model-1.safetensors': '1' },
      '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}',
      'NETWORK',
      /lacks model-2/,
    ],
    [{}, '{"weight_map": {"a": "../../../../etc/passwd"}}', 'NETWORK', /lacks \.\.\/\.\.\/\.\.\/\.\.\/etc\/passwd/],
    [{}, '{"weights": {}}', 'FORMAT', /expected a safetensors index \(Error: it has no weight_map\)/],
    [{}, '{"weight_map"', 'FORMAT', /expected a safetensors index \(SyntaxError/],
  ])('refuses an index that does not fit: %#', async (shards, index, code, message) => {
    const server = await hubOf(onHub({ ...NEEDED, ...shards, 'model.safetensors.index.json': index }));
    vi.stubEnv('HF_ENDPOINT', server.url);
    const failure = { code, message: expect.stringMatching(message) as string };
    await expect(resolveFrom(HUB_NAME)).rejects.toMatchObject(failure);
  });

  it('says what a repository lacks and has', async () => {
    const server = await hubOf(onHub({ 'config.json': '{}', 'vocab.txt': 'x' }));
    vi.stubEnv('HF_ENDPOINT', server.url);
    await expect(resolveFrom(HUB_NAME)).rejects.toThrow(/lacks tokenizer.json \(it has: config.json, vocab.txt\)/);
  });
});

describe('resolveModel on a local folder', () => {
  const weights = { 'model.safetensors': 'w' };

  it('takes it as it is', async () => {
    const folder = folderOf({ ...NEEDED, ...weights });
    expect(await resolveFrom(folder)).toEqual({ folder, id: folder, revision: 'local' });
  });

  it.each([
    [{ 'tokenizer.json': '{}', ...weights }, 'IO', /is no model folder: it lacks config.json/],
    [{ 'config.json': '{}', ...weights }, 'IO', /is no model folder: it lacks tokenizer.json/],
    [NEEDED, 'UNSUPPORTED', /has no model.safetensors but no weights at all/],
  ])('says what it lacks: %#', async (files, code, message) => {
    const folder = folderOf(files);
    await expect(resolveFrom(folder)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });

  it.each(['/nowhere/at/all', './nowhere', '..nowhere'])('says IO where there is no folder %s', async (name) => {
    await expect(resolveFrom(name)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/is neither a folder that exists nor a Hub id such as org\/name/) as string,
    });
  });

  it('is preferred to a Hub id of the same name, if it holds a model', async () => {
    const root = temporaryFolder();
    mkdirSync(join(root, HUB_NAME), { recursive: true });
    const before = process.cwd();
    process.chdir(root);
    try {
      const server = await hubOf({});
      vi.stubEnv('HF_ENDPOINT', server.url);
      await expect(resolveFrom(HUB_NAME)).rejects.toMatchObject({ code: 'NETWORK' });
      for (const [name, content] of Object.entries({ ...NEEDED, ...weights }))
        writeFileSync(join(root, HUB_NAME, name), content);
      expect(await resolveFrom(HUB_NAME)).toMatchObject({ revision: 'local' });
    } finally {
      process.chdir(before);
    }
  });
});
