import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, mergeModel, readSafetensors } from '../../src/engine/index.js';
import type { AdapterSpec, Examples } from '../../src/engine/index.js';
import { difference } from '../support/compare.js';
import { familyFixture, temporaryFolder } from '../support/files.js';
import { ALL_MODULES, changedModel, openBank, SPEC } from '../support/models.js';
import { everyTokenLabelled, referenceBatch } from '../support/reference-batches.js';
import { readReference } from '../support/safetensors.js';

const FAMILIES: [string, readonly string[]][] = [
  ['roberta', ALL_MODULES.bert],
  ['distilbert', ALL_MODULES.distilbert],
  ['vit', ALL_MODULES.vit],
  ['deit', ALL_MODULES.vit],
  ['llama3', ALL_MODULES.llama],
  ['mistral', ALL_MODULES.llama],
  ['qwen2', ALL_MODULES.llama],
];

function examplesOf(family: string): Examples {
  const tensors = readReference(join(familyFixture(family), 'expected.safetensors'));
  const batch = referenceBatch(tensors, 0);
  return 'ids' in batch && batch.labels.length === batch.ids.length ? everyTokenLabelled(batch) : batch;
}

async function logits(bank: AdapterBank, examples: Examples): Promise<Float32Array> {
  const [result] = await evaluate(bank, [{ row: 0, examples }], { targetLogits: true });
  return result!.logits;
}

/** A folder with the merged model of a bank's row 0 and the backbone's config. */
async function mergedFolder(folder: string, bank: AdapterBank): Promise<string> {
  const merged = temporaryFolder();
  await mergeModel(folder, bank, 0, join(merged, 'model.safetensors'));
  copyFileSync(join(folder, 'config.json'), join(merged, 'config.json'));
  return merged;
}

/** The merged model with an adapter that adds nothing. */
async function reopened(
  folder: string,
  spec: Partial<AdapterSpec>,
): Promise<{ bank: AdapterBank; backbone: Backbone }> {
  const backbone = await Backbone.load(folder, { dtype: 'float32' });
  const bank = new AdapterBank(backbone, { ...SPEC, ...spec }, 1);
  bank.initialise(0, 3n);
  return { bank, backbone };
}

describe('a merged model', () => {
  it.each(FAMILIES)(
    'of a %s with LoRA on every module gives the logits of backbone and adapter',
    async (family, all) => {
      const folder = familyFixture(family);
      const examples = examplesOf(family);
      const language = !('pixels' in examples) && examples.labels.length === examples.ids.length;
      const spec = { targetModules: all, trainHead: !language };
      const { bank, dispose } = await openBank(folder, 1, spec, { dtype: 'float32' });
      const expected = await logits(bank, examples);
      const again = await reopened(await mergedFolder(folder, bank), spec);
      const found = await logits(again.bank, examples);
      expect(expected.length).toBeGreaterThan(0);
      expect(difference(found, expected).max).toBeLessThan(2e-4);
      expect(again.backbone.info.unused).toEqual([]);
      again.bank.dispose();
      again.backbone.dispose();
      dispose();
    },
  );

  it('has the frozen head that the adapters were trained with', async () => {
    const folder = familyFixture('vit');
    const spec = { targetModules: ['query', 'value'], trainHead: false };
    const { bank, dispose } = await openBank(folder, 1, spec, { dtype: 'float32' });
    const again = await reopened(await mergedFolder(folder, bank), spec);
    expect(
      difference(await logits(again.bank, examplesOf('vit')), await logits(bank, examplesOf('vit'))).max,
    ).toBeLessThan(2e-4);
    again.bank.dispose();
    again.backbone.dispose();
    dispose();
  });

  it('keeps every other tensor of the files bit for bit, under the full name of a model with a head', async () => {
    const folder = await changedModel('roberta', {}, (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        tensors.delete(name);
        tensors.set(name.replace(/^roberta\./, ''), tensor);
      }
    });
    const { bank, dispose } = await openBank(folder, 1, { targetModules: ['query'], trainHead: true });
    const merged = await readSafetensors(join(await mergedFolder(folder, bank), 'model.safetensors'));
    const before = await readSafetensors(join(folder, 'model.safetensors'));
    for (const [name, { data }] of before) {
      const found = merged.get(`roberta.${name}`);
      if (/\.query\.weight$/.test(name)) expect(found!.data).not.toEqual(data);
      else if (found !== undefined) expect(found.data).toEqual(data);
    }
    expect([...merged.keys()].filter((name) => !/^(roberta|classifier)\./.test(name))).toEqual([]);
    expect(merged.get('classifier.out_proj.weight')!.shape).toEqual([SPEC.numLabels, 16]);
    dispose();
  });

  it('is refused for a row that is not there, and leaves nothing behind', async () => {
    const folder = familyFixture('roberta');
    const { bank, dispose } = await openBank(folder, 1, { targetModules: ['query'], trainHead: true });
    const path = join(temporaryFolder(), 'model.safetensors');
    await expect(mergeModel(folder, bank, 7, path)).rejects.toMatchObject({ code: 'USAGE' });
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
    dispose();
  });
});
