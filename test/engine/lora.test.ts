import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { bertSpec, trainingReferenceTests } from '../support/training-reference.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));

describe('LoRA on a small BERT of our own equals transformers and PEFT', () => {
  trainingReferenceTests(`${fixtures}small-bert`, `${fixtures}lora_small_bert`, bertSpec(3));
});

describeWithShared('LoRA equals the golden values on', () => {
  const model = (name: string) => sharedPath(`hub/models/fltac-test/${name}`);
  const golden = (name: string) => sharedPath(`golden/${name}`);
  const llama = { rank: 8, targetModules: ['q_proj', 'v_proj'], numLabels: 2, trainHead: false };

  describe('tiny-bert, rank 4', () => trainingReferenceTests(model('tiny-bert'), golden('lora_bert'), bertSpec(4)));
  describe('tiny-bert, rank 1', () => trainingReferenceTests(model('tiny-bert'), golden('lora_bert_r1'), bertSpec(1)));
  describe('tiny-bert, rank 16', () =>
    trainingReferenceTests(model('tiny-bert'), golden('lora_bert_r16'), bertSpec(16)));
  describe('tiny-vit', () =>
    trainingReferenceTests(model('tiny-vit'), golden('lora_vit'), { ...bertSpec(4), numLabels: 10 }));
  describe('tiny-llama', () => trainingReferenceTests(model('tiny-llama'), golden('lora_llama'), llama));
  describe('tiny-llama-gqa, grouped queries, bfloat16 shards', () =>
    trainingReferenceTests(model('tiny-llama-gqa'), golden('lora_llama_gqa'), llama));

  // Three layers each.
  const portable = { deviceMap: { embedding: 'portable', 'layers.0-2': 'portable', output: 'portable' } };
  describe("with other devices' kernels", () => {
    describe('tiny-bert', () => trainingReferenceTests(model('tiny-bert'), golden('lora_bert'), bertSpec(4), portable));
    describe('tiny-vit', () =>
      trainingReferenceTests(model('tiny-vit'), golden('lora_vit'), { ...bertSpec(4), numLabels: 10 }, portable));
    describe('tiny-llama-gqa', () =>
      trainingReferenceTests(model('tiny-llama-gqa'), golden('lora_llama_gqa'), llama, portable));
  });
});
