import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, train, writeSafetensors, readSafetensors } from '../../src/engine/index.js';
import type { PackedImages } from '../../src/engine/index.js';
import { difference } from '../support/compare.js';
import { familyFixture, temporaryFolder } from '../support/files.js';
import { classExamples, imageExamples, openBank, SPEC } from '../support/models.js';
import { concatenated, referenceBatch } from '../support/reference-batches.js';
import { readReference, values } from '../support/safetensors.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const vit = { targetModules: ['query', 'value'], trainHead: true };

describe('images of a batch', () => {
  it('may have any size each: they are brought to the model as preprocessing alone does', async () => {
    const { bank, dispose } = await openBank(familyFixture('vit'), 1, vit);
    const small = imageExamples(1, 1, 7);
    const large = imageExamples(2, 1, 33);
    const both: PackedImages = {
      ...concatenated([small, large]).examples,
      preprocess: imageExamples(1, 1).preprocess,
    };
    const alone = await evaluate(
      bank,
      [small, large].map((images) => ({ row: 0, examples: { ...images, preprocess: both.preprocess } })),
    );
    const [together] = await evaluate(bank, [{ row: 0, examples: both }]);
    expect(
      difference(
        together!.logits,
        alone.flatMap(({ logits }) => [...logits]),
      ).max,
    ).toBeLessThan(1e-5);
    expect(alone[0]!.logits).not.toEqual(alone[1]!.logits);
    dispose();
  });

  it('of several jobs train each adapter as if alone', async () => {
    const banks = [await openBank(familyFixture('vit'), 3, vit), await openBank(familyFixture('vit'), 3, vit)];
    const [together, alone] = banks.map(({ bank }) => bank) as [AdapterBank, AdapterBank];
    const jobs = [0, 1, 2].map((row) => ({
      row,
      examples: imageExamples(row, 6),
      batches: row === 1 ? Int32Array.of(0, 1, 6) : Int32Array.of(0, 2, 3, 6),
      stream: BigInt(row),
    }));
    const a = await train(together, jobs, { lr: 5e-3, cohort: 3 });
    const b = await train(alone, jobs, { lr: 5e-3, cohort: 1 });
    for (const [j, { losses }] of a.entries()) {
      expect(difference(losses, b[j]!.losses).max).toBeLessThan(1e-5);
      expect(difference(together.get(j), alone.get(j)).max).toBeLessThan(1e-4);
    }
    banks.forEach(({ dispose }) => dispose());
  });

  it.each([
    [
      'of a size that is not the model’s',
      'SHAPE',
      /preprocessor makes images of 32 x 32, the backbone reads 16 x 16/,
      imageExamples(1, 2, 32),
    ],
    [
      'with a label outside the head',
      'SHAPE',
      /image 1 has label 9, expected 0 to 2/,
      { ...imageExamples(1, 2), labels: Int32Array.of(0, 9) },
    ],
    ['with too few labels', 'SHAPE', /1 labels for 2 images/, { ...imageExamples(1, 2), labels: Int32Array.of(0) }],
    ['with pixels missing', 'SHAPE', /ends after|ask for/, { ...imageExamples(1, 2), pixels: new Uint8Array(9) }],
    ['that are token sequences', 'USAGE', /vit reads images, found token sequences/, classExamples(1, [3])],
  ])('%s are refused with %s', async (_, code, message, examples) => {
    const { bank, dispose } = await openBank(familyFixture('vit'), 1, vit);
    await expect(evaluate(bank, [{ row: 0, examples }])).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
    dispose();
  });
});

describe('a frozen head', () => {
  it('that was never made is refused instead of answering zeros', async () => {
    const backbone = await Backbone.load(familyFixture('vit'));
    const bank = new AdapterBank(backbone, { ...SPEC, ...vit, trainHead: false }, 1);
    const job = { row: 0, examples: imageExamples(1, 1) };
    await expect(evaluate(bank, [job])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/frozen head was never made/) as string,
    });
    bank.initialise(0, 1n);
    await expect(evaluate(bank, [job])).resolves.toHaveLength(1);
    bank.dispose();
    backbone.dispose();
  });
});

describeWithShared('ViT with a frozen head on tiny-vit equals the golden values', () => {
  it('gives the losses and the adapter after 20 AdamW steps', async () => {
    const tensors = readReference(sharedPath('golden/lora_vit.safetensors'));
    const { recommended_tolerance: tolerance, optimizer } = JSON.parse(
      readFileSync(sharedPath('golden/lora_vit.json'), 'utf8'),
    ) as { recommended_tolerance: Record<string, number>; optimizer: { lr: number } };
    // The frozen head of the golden run as a checkpoint holds it.
    const model = sharedPath('hub/models/fltac-test/tiny-vit');
    const folder = temporaryFolder();
    copyFileSync(join(model, 'config.json'), join(folder, 'config.json'));
    const weights = await readSafetensors(join(model, 'model.safetensors'));
    for (const part of ['weight', 'bias']) {
      const name = `init.base_model.model.classifier.modules_to_save.default.${part}`;
      weights.set(`classifier.${part}`, {
        shape: tensors.get(name)!.shape,
        data: Float32Array.from(values(tensors, name)),
      });
    }
    await writeSafetensors(join(folder, 'model.safetensors'), weights);

    const backbone = await Backbone.load(folder);
    const bank = new AdapterBank(
      backbone,
      { ...SPEC, ...vit, rank: 4, loraDropout: 0, numLabels: 10, trainHead: false },
      1,
    );
    bank.initialise(0, 0n);
    const start = new Float32Array(bank.layout.size);
    for (const { name, offset } of bank.layout.tensors) start.set(values(tensors, `init.${name}`), offset);
    bank.set(0, start);
    const parts = Array.from({ length: 20 }, (_, step) => referenceBatch(tensors, step % 4));
    const job = { row: 0, ...concatenated(parts), stream: 0n };
    const [result] = await train(bank, [job], { lr: optimizer.lr, dropout: false, cohort: 1 });
    expect(difference(result!.losses, values(tensors, 'frozen_head.losses')).max).toBeLessThan(tolerance['losses']!);
    const flat = bank.get(0);
    for (const { name, shape, offset } of bank.layout.tensors) {
      const found = flat.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
      const gap = difference(found, values(tensors, `frozen_head.step20.${name}`));
      expect(gap.max).toBeLessThan(tolerance['step20']!);
      expect(gap.mean).toBeLessThan(tolerance['step20_mean']!);
    }
    bank.dispose();
    backbone.dispose();
  });
});
