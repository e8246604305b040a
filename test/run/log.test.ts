import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { barLine, createLog, formatSeconds } from '../../src/run/log.js';

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
  /** what a terminal shows of it: what a carriage return and a wipe leave of each line */
  get screen(): string[] {
    return this.text.split('\n').map((line) => line.split('\r\u001b[K').at(-1)!);
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
      'training: 10/100, about 9.0 s left\ntraining: 50/100, about 1.9 s left\ntraining: ready\n',
    );
  });

  it('reckons the time left from the pace here, not from what an earlier process kept', () => {
    let now = 0;
    const stream = new Sink(false);
    const handle = createLog({ stream, env: {}, lineEveryMs: 1000, clock: () => now }).progress('training', 100);
    handle.update(50);
    now = 1000;
    handle.update(60, '3 of 6 clients');
    expect(stream.text).toBe('training: 60/100, about 4.0 s left (3 of 6 clients)\n');
  });

  describe('on a terminal', () => {
    let now = 0;
    const begin = (env: NodeJS.ProcessEnv = {}) => {
      now = 0;
      const stream = new Sink(true);
      return { stream, log: createLog({ stream, env, clock: () => now }) };
    };

    it('shows one line that is drawn over, with notes above it, and leaves nothing of it', () => {
      const { stream, log } = begin();
      const handle = log.progress('training', 4);
      handle.update(0);
      now = 2000;
      handle.update(2, '1 of 3 clients, loss 0.500');
      log.info('a note');
      log.warn('careful');
      const bar = `training [${'#'.repeat(15)}${'-'.repeat(15)}] 50%, 2.0 s left, 1 of 3 clients, loss 0.500, step 2/4`;
      expect(stream.screen).toEqual(['a note', '\u001b[33mwarning:\u001b[0m careful', bar]);
      handle.done();
      handle.update(3);
      expect(stream.screen).toEqual(['a note', '\u001b[33mwarning:\u001b[0m careful', '']);
    });

    it('is not drawn more often than an eye follows', () => {
      const { stream, log } = begin();
      const handle = log.progress('training', 1000);
      for (now = 0; now < 1000; now += 1) handle.update(now);
      expect(stream.text.split('\r').length - 1).toBe(5);
    });

    it('has no line drawn over on a dumb one, and no colour with NO_COLOR', () => {
      const dumb = begin({ TERM: 'dumb' });
      dumb.log.progress('training', 4).update(1);
      expect(dumb.stream.text).toBe('');
      const plain = begin({ NO_COLOR: '1' });
      plain.log.progress('training', 4);
      plain.log.warn('careful');
      expect(plain.stream.text).not.toContain('\u001b[3');
    });
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

describe('a bar', () => {
  const state = { title: 'round 3/20 training', done: 96, total: 192, left: 61, note: '2 of 6 clients, loss 0.412' };

  it.each([
    [100, 'round 3/20 training [########--------] 50%, 1 min 01 s left, 2 of 6 clients, loss 0.412, step 96/192'],
    [85, 'round 3/20 training [#######-------] 50%, 1 min 01 s left, 2 of 6 clients, loss 0.412'],
    [50, 'round 3/20 training [###----] 50%, 1 min 01 s left'],
    [36, 'round 3/20 training [#####-----] 50%'],
    [30, 'round 3/20 training 50%'],
    [12, 'round 3/20 t'],
    [0, ''],
  ])('of %i characters says what there is room for', (width, text) => {
    expect(barLine(state, width)).toBe(text);
    expect(text.length).toBeLessThanOrEqual(width);
  });

  it('is as long as there is room for, and not longer', () => {
    for (let width = 0; width < 200; width += 1) expect(barLine(state, width).length).toBeLessThanOrEqual(width);
    expect(barLine({ ...state, left: undefined, note: '' }, 200)).toBe(
      `round 3/20 training [${'#'.repeat(15)}${'-'.repeat(15)}] 50%, step 96/192`,
    );
  });
});
