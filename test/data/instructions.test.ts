import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InstructionTableBuilder, alpacaPrompt, selectRows } from '../../src/data/instructions.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

describe('alpacaPrompt', () => {
  it('has an input only where the context is not blank', () => {
    const plain =
      'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n' +
      '### Instruction:\nSing.\n\n### Response:\n';
    expect(alpacaPrompt({ instruction: 'Sing.', context: '' })).toBe(plain);
    expect(alpacaPrompt({ instruction: 'Sing.', context: ' \n' })).toBe(plain);
    expect(alpacaPrompt({ instruction: 'Sing.', context: ' A boat.\n' })).toBe(
      'Below is an instruction that describes a task, paired with an input that provides further context. ' +
        'Write a response that appropriately completes the request.\n\n' +
        '### Instruction:\nSing.\n\n### Input:\n A boat.\n\n\n### Response:\n',
    );
  });
});

describeWithShared('alpacaPrompt against the reference', () => {
  it('gives every prompt', () => {
    const path = sharedPath('hub/datasets/databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl');
    const lines = readFileSync(path, 'utf8').split('\n');
    const { alpaca } = JSON.parse(readFileSync(sharedPath('golden/tokenize.json'), 'utf8')) as {
      alpaca: { row: number; prompt: string }[];
    };
    for (const { row, prompt } of alpaca) {
      expect(alpacaPrompt(JSON.parse(lines[row]!) as { instruction: string; context: string })).toBe(prompt);
    }
    expect(alpaca).toHaveLength(32);
  });
});

describe('a table of instructions', () => {
  it('gives rows back, and chosen ones in the order chosen', () => {
    const builder = new InstructionTableBuilder();
    const rows = ['a', 'bé', ''].map((text) => ({ instruction: text, context: `${text} c`, response: `${text} r` }));
    for (const row of rows) builder.append(row);
    const table = builder.finish();
    expect([table.length, table.get(0), table.get(1), table.get(2)]).toEqual([3, ...rows]);
    const chosen = selectRows(table, Int32Array.of(2, 0, 2));
    expect([chosen.length, chosen.get(0), chosen.get(1), chosen.get(2)]).toEqual([3, rows[2], rows[0], rows[2]]);
    expect(() => chosen.get(3)).toThrow('row -1 was asked for, the table has rows 0 to 2');
  });
});
