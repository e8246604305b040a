import { describe, expect, it } from 'vitest';
import { CausalTokenizer } from '../../src/data/causal-tokenizer.js';
import { makeInstructionTask } from '../../src/data/instruction-task.js';
import type { InstructionRows } from '../../src/data/instructions.js';
import { causalModel } from '../support/causal-model.js';
import { keptLog } from '../support/hub.js';

function rowsOf(length: number): InstructionRows {
  return { length, get: (row) => ({ instruction: `do ${row}`, context: '', response: 'done' }) };
}

async function make(train: number, held: number, signal = new AbortController().signal, log = keptLog()) {
  const tokenizer = await CausalTokenizer.open(causalModel(['do', 'done']), 64);
  const parts = { train: rowsOf(train), evaluation: rowsOf(held) };
  return makeInstructionTask({ name: 'mine', ...parts, tokenizer, context: { log, signal } });
}

describe('makeInstructionTask', () => {
  it('takes rows from anywhere, and shows how far it is over both parts', async () => {
    const log = keptLog();
    const task = await make(300, 20, undefined, log);
    expect([task.trainRows, task.evalRows]).toEqual([300, 20]);
    expect(log.lines).toEqual(['start: tokenising mine 320', 'done: ']);
    expect(log.steps).toEqual([256, 300, 320]);
  });

  it.each([
    [0, 1, /task mine has no training rows/],
    [1, 0, /task mine has no held-out rows/],
  ])('refuses %d training and %d held-out rows', async (train, held, message) => {
    await expect(make(train, held)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(message) as string,
    });
  });

  it('stops when it is told to', async () => {
    const stop = new AbortController();
    const log = keptLog();
    const progress = log.progress.bind(log);
    log.progress = (...args) => ({ ...progress(...args), update: () => stop.abort() });
    await expect(make(600, 1, stop.signal, log)).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
