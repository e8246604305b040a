import { readFileSync } from 'node:fs';
import { describe } from 'vitest';
import { familyFixture } from '../support/files.js';
import { trainingReferenceTests } from '../support/training-reference.js';

interface Expected {
  rank: number;
  target_modules: string[];
  num_labels: number;
  train_head: boolean;
}

const NAMES = ['roberta', 'distilbert', 'vit', 'deit', 'llama3', 'llama_linear', 'mistral', 'qwen2'];

describe.each(NAMES)('LoRA on a small %s of our own equals transformers and PEFT', (name) => {
  const folder = familyFixture(name);
  const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')) as Expected;
  trainingReferenceTests(folder, `${folder}/expected`, {
    rank: expected.rank,
    targetModules: expected.target_modules,
    numLabels: expected.num_labels,
    trainHead: expected.train_head,
  });
});
