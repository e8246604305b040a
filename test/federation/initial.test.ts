import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { flattenAdapter, loadInitialAdapter, plainName } from '../../src/federation/initial.js';
import { namedTensors } from '../../src/run/artifacts.js';
import { FAKE_LAYOUT, fakeFace } from '../support/fake-engine.js';

const SPEC = { rank: 1, loraAlpha: 16, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: true };
const FLAT = Float32Array.from({ length: FAKE_LAYOUT.size }, (_, i) => i + 0.5);
const face = fakeFace();

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'fltac-initial-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function peftDirectory(config: Record<string, unknown>): Promise<string> {
  const directory = path.join(folder, 'peft');
  await mkdir(directory);
  await face.writeSafetensors(
    path.join(directory, 'adapter_model.safetensors'),
    namedTensors(FAKE_LAYOUT, FLAT, plainName),
  );
  await writeFile(path.join(directory, 'adapter_config.json'), JSON.stringify(config));
  return directory;
}

describe('the common initial adapter', () => {
  it('is read from a file with named_parameters names', async () => {
    const file = path.join(folder, 'init.safetensors');
    await face.writeSafetensors(file, namedTensors(FAKE_LAYOUT, FLAT));
    expect(await loadInitialAdapter(face, file, FAKE_LAYOUT, SPEC)).toEqual(FLAT);
  });

  it('is read from a PEFT directory, whose names lack the adapter name', async () => {
    const directory = await peftDirectory({ r: 1, lora_alpha: 16 });
    expect(await loadInitialAdapter(face, directory, FAKE_LAYOUT, SPEC)).toEqual(FLAT);
  });

  it('must have the rank and alpha of the run', async () => {
    const directory = await peftDirectory({ r: 8, lora_alpha: 32 });
    await expect(loadInitialAdapter(face, directory, FAKE_LAYOUT, SPEC)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/rank is 8 there, lora_rank 1 .*; alpha is 32 there, lora_alpha 16/) as string,
    });
  });

  it('must be plain LoRA: other arithmetic on tensors of the same names is refused', async () => {
    const plain = { use_rslora: false, alpha_pattern: {}, rank_pattern: {}, bias: 'none', peft_type: 'LORA' };
    const directory = await peftDirectory({ r: 1, lora_alpha: 16, ...plain });
    expect(await loadInitialAdapter(face, directory, FAKE_LAYOUT, SPEC)).toEqual(FLAT);
    const other = { use_rslora: true, alpha_pattern: { query: 8 }, bias: 'all' };
    for (const [key, value] of Object.entries(other)) {
      const text = JSON.stringify({ r: 1, lora_alpha: 16, ...plain, [key]: value });
      await writeFile(path.join(directory, 'adapter_config.json'), text);
      await expect(loadInitialAdapter(face, directory, FAKE_LAYOUT, SPEC)).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining(`${key} is ${JSON.stringify(value)} there`) as string,
      });
    }
  });

  it('may have the names of another version of transformers', () => {
    const layout = { ...FAKE_LAYOUT, tensors: FAKE_LAYOUT.tensors.map((t, i) => ({ ...t, also: `other.${i}` })) };
    const tensors = namedTensors(FAKE_LAYOUT, FLAT);
    const [first] = FAKE_LAYOUT.tensors;
    tensors.set('other.0', tensors.get(first!.name)!);
    tensors.delete(first!.name);
    expect(flattenAdapter(tensors, layout, 'some.safetensors')).toEqual(FLAT);
  });

  it('must fit the layout: every difference is listed', () => {
    const tensors = namedTensors(FAKE_LAYOUT, FLAT);
    const [a, b, bias] = FAKE_LAYOUT.tensors.map((tensor) => tensor.name);
    tensors.delete(a!);
    tensors.set(b!, { shape: [2, 4], data: new Float32Array(8) });
    tensors.set('base_model.model.pooler.weight', { shape: [1], data: new Float32Array(1) });
    expect(() => flattenAdapter(tensors, FAKE_LAYOUT, 'some.safetensors')).toThrow(
      expect.objectContaining({
        code: 'SHAPE',
        message: expect.stringContaining(
          `  missing: ${a!} [1, 2]\n  ${b!}: shape [2, 4], expected [2, 1]\n  not in the adapter: base_model.model.pooler.weight`,
        ) as string,
      }) as Error,
    );
    expect(tensors.has(bias!)).toBe(true);
  });

  it('must exist', async () => {
    await expect(loadInitialAdapter(face, path.join(folder, 'none'), FAKE_LAYOUT, SPEC)).rejects.toMatchObject({
      code: 'IO',
    });
  });
});
