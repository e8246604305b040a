import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { readParquet } from '../../src/data/parquet.js';
import { TextTokenizer, TokenizedTable } from '../../src/data/tokenize.js';
import { AdapterBank, Backbone, evaluate, train } from '../../src/engine/index.js';
import { difference } from '../support/compare.js';
import { readReference, values } from '../support/safetensors.js';
import { describeWithMinilm, sharedPath } from '../support/shared.js';

interface Run {
  lr: number;
  validation_correct: number;
  recommended_tolerance: Record<'losses' | 'validation_logits' | 'step30_mean' | 'validation_correct', number>;
  accuracy_tests_something: boolean;
}

const steps = 30;
const batchSize = 32;

describeWithMinilm('LoRA on pretrained MiniLM with real SST-2 equals PEFT', (folder) => {
  const tensors = readReference(sharedPath('golden/minilm.safetensors'));
  const { runs } = JSON.parse(readFileSync(sharedPath('golden/minilm.json'), 'utf8')) as { runs: Record<string, Run> };
  const table = async (split: string) => {
    const file = sharedPath(`hub/datasets/nyu-mll/glue/sst2/${split}-00000-of-00001.parquet`);
    const rows = await readParquet([file], { texts: ['sentence'], label: 'label' });
    return new TokenizedTable(await TextTokenizer.open(folder, 128), rows);
  };

  it.each(Object.keys(runs))('run %s: 30 losses, the trained adapter, 872 validation logits', async (name) => {
    const run = runs[name]!;
    const backbone = await Backbone.load(folder);
    const spec = {
      rank: 4,
      loraAlpha: 16,
      loraDropout: 0,
      targetModules: ['query', 'value'],
      numLabels: 2,
      trainHead: true,
    };
    const bank = new AdapterBank(backbone, spec, 1);
    const start = new Float32Array(bank.layout.size);
    for (const { name: tensor, offset } of bank.layout.tensors) start.set(values(tensors, `init.${tensor}`), offset);
    bank.set(0, start);

    const rows = Int32Array.from(values(tensors, 'batch_rows'));
    const sequences = await (await table('train')).sequences(rows);
    const batches = Int32Array.from({ length: steps + 1 }, (_, step) => step * batchSize);
    const job = { row: 0, examples: sequences, batches, stream: 0n };
    const [trained] = await train(bank, [job], { lr: run.lr, dropout: false, cohort: 1 });
    const tolerance = run.recommended_tolerance;
    expect(difference(trained!.losses, values(tensors, `${name}.losses`)).max).toBeLessThan(tolerance.losses);
    const adapter = bank.get(0);
    for (const { name: tensor, shape, offset } of bank.layout.tensors) {
      const found = adapter.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
      const gap = difference(found, values(tensors, `${name}.step30.${tensor}`));
      expect(gap.mean, tensor).toBeLessThan(tolerance.step30_mean);
    }

    const validation = await (await table('validation')).sequences(Int32Array.from({ length: 872 }, (_, row) => row));
    const [evaluated] = await evaluate(bank, [{ row: 0, examples: validation }]);
    const { logits } = evaluated!;
    expect(difference(logits, values(tensors, `${name}.validation_logits`)).max).toBeLessThan(
      tolerance.validation_logits,
    );
    const correct = validation.labels.filter((label, i) => Number(logits[2 * i + 1]! > logits[2 * i]!) === label);
    expect(Math.abs(correct.length - run.validation_correct)).toBeLessThanOrEqual(tolerance.validation_correct);
    bank.dispose();
    backbone.dispose();
  });
});
