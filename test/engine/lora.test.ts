import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { loraReferenceTests } from '../support/lora-reference.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));

describe('LoRA on a small BERT of our own equals transformers and PEFT', () => {
  loraReferenceTests(`${fixtures}small-bert`, `${fixtures}lora_small_bert`, 3);
});

describeWithShared('LoRA on tiny-bert equals the golden values', () => {
  const model = sharedPath('hub/models/fltac-test/tiny-bert');
  describe('rank 4', () => loraReferenceTests(model, sharedPath('golden/lora_bert'), 4));
  describe('rank 1', () => loraReferenceTests(model, sharedPath('golden/lora_bert_r1'), 1));
  describe('rank 16', () => loraReferenceTests(model, sharedPath('golden/lora_bert_r16'), 16));
});
