import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createLog, formatSeconds } from '../../src/run/log.js';

class Sink extends Writable {
  text = '';
  columns = 100;
  constructor(readonly isTTY: boolean) {
    super();
  }
  override _write(chunk: Buffer, _: string, callback: () => void): void {
    this.text += chunk.toString();
    callback();
  }
  cursorTo(): void {
    this.text += '\r';
  }
  clearLine(): void {
    // the text keeps what a terminal would wipe
  }
}

describe('the log', () => {
  it('writes plain lines where there is no terminal', () => {
    const stream = new Sink(false);
    const log = createLog({ stream, env: {} });
    log.info('hello');
    log.warn('careful');
    expect(stream.text).toBe('hello\nwarning: careful\n');
  });

  it.each([
    [{}, true],
    [{ NO_COLOR: '1' }, false],
    [{ NO_COLOR: '' }, true],
  ])('colours warnings on a terminal unless NO_COLOR forbids it: %o', (env, coloured) => {
    const stream = new Sink(true);
    createLog({ stream, env }).warn('careful');
    expect(stream.text.includes('\u001b[33m')).toBe(coloured);
  });

  it('tells progress in lines that are far enough apart', () => {
    let now = 0;
    const stream = new Sink(false);
    const handle = createLog({ stream, env: {}, lineEveryMs: 1000, clock: () => now }).progress('training', 100);
    for (const [time, done] of [
      [100, 1],
      [1000, 10],
      [1500, 20],
      [2000, 50],
      [9000, 100],
    ] as const) {
      now = time;
      handle.update(done);
    }
    handle.done('ready');
    handle.done('twice');
    expect(stream.text).toBe(
      'training: 10/100, about 9.0 s left\ntraining: 50/100, about 2.0 s left\ntraining: ready\n',
    );
  });

  it('draws a bar with the time left on a terminal', () => {
    const stream = new Sink(true);
    const log = createLog({ stream, env: {} });
    const handle = log.progress('training', 4);
    handle.update(2);
    log.info('a note');
    handle.done();
    expect(stream.text).toMatch(/training \[-+\] 0% 0\/4 ETA/);
    expect(stream.text).toContain('\r\u001b[Ka note\n');
  });

  it('says lengths of time for people', () => {
    expect([0.44, 12.4, 61, 3600, 7805].map(formatSeconds)).toEqual([
      '0.4 s',
      '12 s',
      '1 min 01 s',
      '1 h 00 min',
      '2 h 10 min',
    ]);
  });
});
