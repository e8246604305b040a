import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LineProcess } from '../../src/bench/line-process.js';

const GREETS = 'console.error("why"); console.log(JSON.stringify({ ready: 1 })); process.exitCode = 3;';

/** A child that runs a program; by default one that writes one line and ends with exit code 3. */
function child(signal = new AbortController().signal, program = GREETS): LineProcess {
  return new LineProcess({ title: 'the child', command: process.execPath, args: ['-e', program], env: {}, signal });
}
describe('a process that is read line by line', () => {
  it('that ends early is told with its exit code and the last line of its stderr', async () => {
    const process = child();
    expect(await process.read()).toEqual({ ready: 1 });
    await expect(process.read()).rejects.toMatchObject({
      code: 'IO',
      message: 'the child ended early (exit code 3): why',
    });
  });

  it('that Ctrl-C has ended before it could be killed was stopped, and did not fail', async () => {
    const stop = new AbortController();
    const process = child(stop.signal);
    await process.read();
    await setTimeout(300);
    stop.abort();
    await expect(process.read()).rejects.toMatchObject({ code: 'ABORTED', message: 'the child was stopped' });
  });

  it('that throws is told by its error, not by what Node adds below', async () => {
    const process = child(undefined, 'throw new Error("it broke")');
    await expect(process.read()).rejects.toMatchObject({
      message: 'the child ended early (exit code 1): Error: it broke',
    });
  });

  it.each([
    [{ code: 'UNSUPPORTED', message: 'there is none' }, 'UNSUPPORTED', 'there is none'],
    ['MemoryError: all gone', 'IO', 'the child: MemoryError: all gone'],
  ])('that answers with the failure %j has it thrown', async (failed, code, message) => {
    const process = child(undefined, `console.log(${JSON.stringify(JSON.stringify({ failed }))})`);
    await expect(process.read()).rejects.toMatchObject({ code, message });
  });
});
