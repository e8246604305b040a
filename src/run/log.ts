/**
 * What fltac says while it works: notes, warnings and progress, all on stderr, so that stdout holds results only.
 * On a terminal the last line shows what is being done, with the time left; elsewhere progress is a line now and then.
 */
import { redactor } from '../net/secrets.js';

/** Where the parts of fltac report what they do. Implementations write to stderr or keep the lines (tests). */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
  /** Starts a progress display of `total` steps; a bar on a terminal, plain lines elsewhere. */
  progress(title: string, total: number): ProgressHandle;
}

/** One running progress display; `done` ends it, and is safe to call twice. */
export interface ProgressHandle {
  /** `done` of the total steps are finished; `note` says more of them and stays until there is another. */
  update(done: number, note?: string): void;
  done(note?: string): void;
}

/** The part of a writable stream that a log needs. */
export interface LogStream {
  write(text: string): unknown;
  isTTY?: boolean;
  /** width of a terminal */
  columns?: number;
}

export interface LogOptions {
  /** default: process.stderr */
  stream?: LogStream & NodeJS.WritableStream;
  /** default: process.env; NO_COLOR (any value but empty) switches colours off; TERM=dumb is no terminal */
  env?: NodeJS.ProcessEnv;
  /** least milliseconds between two plain progress lines; default 5000 */
  lineEveryMs?: number;
  /** milliseconds since some fixed moment; default Date.now */
  clock?: () => number;
}

const YELLOW = '\u001b[33m';
const RESET = '\u001b[0m';
const CLEAR_LINE = '\r\u001b[K';

/** Milliseconds between two drawings of a bar. */
const REDRAW_MS = 200;

/** Makes the log of a command. */
export function createLog(options: LogOptions = {}): Log {
  const stream: LogStream = options.stream ?? process.stderr;
  const env = options.env ?? process.env;
  const clock = options.clock ?? Date.now;
  const terminal = stream.isTTY === true && env['TERM'] !== 'dumb';
  const colour = terminal && (env['NO_COLOR'] ?? '') === '';
  const redact = redactor(env);
  // The bar that is drawn, and drawn again below each line that is written while it is there.
  let drawn: string | undefined;
  const line = (text: string): void => {
    stream.write(`${drawn === undefined ? '' : CLEAR_LINE}${redact(text)}\n${drawn ?? ''}`);
  };
  const draw = (text: string | undefined): void => {
    drawn = text;
    stream.write(`${CLEAR_LINE}${text ?? ''}`);
  };
  return {
    info: line,
    warn: (message) => line(colour ? `${YELLOW}warning:${RESET} ${message}` : `warning: ${message}`),
    progress(title, total) {
      if (!terminal) return plainProgress({ title, total, line, clock, every: options.lineEveryMs ?? 5000 });
      return barProgress({ title, total, line, draw, clock, columns: () => stream.columns ?? 80 });
    },
  };
}

/** A log that keeps silent; for library use and tests that do not look at messages. */
export function silentLog(): Log {
  const nothing = () => undefined;
  return { info: nothing, warn: nothing, progress: () => ({ update: nothing, done: nothing }) };
}

interface Progress {
  title: string;
  total: number;
  line: (text: string) => void;
  clock: () => number;
}

function barProgress(options: Progress & { draw: (text?: string) => void; columns: () => number }): ProgressHandle {
  const { title, total, line, draw, clock, columns } = options;
  const left = timeLeft(total, clock);
  const state = { done: 0, note: '' };
  let last = -Infinity;
  let ended = false;
  const show = (now: number, seconds?: number): void => {
    last = now;
    draw(barLine({ title, total, left: seconds, ...state }, columns() - 1));
  };
  show(clock());
  return {
    update(done, note) {
      if (ended) return;
      state.done = done;
      if (note !== undefined) state.note = note;
      const now = clock();
      const seconds = left(done);
      if (now - last >= REDRAW_MS) show(now, seconds);
    },
    done(note) {
      if (ended) return;
      ended = true;
      draw(undefined);
      if (note !== undefined) line(`${title}: ${note}`);
    },
  };
}

/** What a bar shows. */
export interface BarState {
  title: string;
  done: number;
  total: number;
  /** seconds; undefined where nothing is known yet */
  left: number | undefined;
  note: string;
}

const BAR = { least: 5, most: 30 };

/** A bar of at most `width` characters: where there is little room, the bar goes first, then the least telling parts. */
export function barLine({ title, done, total, left, note }: BarState, width: number): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const percent = `${Math.floor(100 * share)}%`;
  const time = left === undefined ? [] : [`${formatSeconds(left)} left`];
  const notes = note === '' ? [] : [note];
  const choices = [[...time, ...notes, `step ${done}/${total}`], [...time, ...notes], time, []];
  const texts = choices.map((parts) => [percent, ...parts].join(', '));
  const room = (text: string) => width - title.length - text.length - ' [] '.length;
  const withBar = texts.find((text) => room(text) >= BAR.least);
  if (withBar !== undefined) {
    const size = Math.min(BAR.most, room(withBar));
    const full = Math.floor(size * share);
    return `${title} [${'#'.repeat(full)}${'-'.repeat(size - full)}] ${withBar}`;
  }
  const narrow = texts.map((text) => `${title} ${text}`);
  return narrow.find((text) => text.length <= width) ?? narrow.at(-1)!.slice(0, Math.max(0, width));
}

function plainProgress({ title, total, line, clock, every }: Progress & { every: number }): ProgressHandle {
  const left = timeLeft(total, clock);
  let last = clock();
  let ended = false;
  return {
    update(done, note) {
      const now = clock();
      const seconds = left(done);
      if (ended || now - last < every || done >= total) return;
      last = now;
      const more = seconds === undefined ? '' : `, about ${formatSeconds(seconds)} left`;
      line(`${title}: ${done}/${total}${more}${note === undefined || note === '' ? '' : ` (${note})`}`);
    },
    done(note) {
      if (ended) return;
      ended = true;
      if (note !== undefined) line(`${title}: ${note}`);
    },
  };
}

/**
 * Seconds that are left at the pace since the first call, by steps that are done; undefined before there is a pace. What
 * was done at the first call may be work that an earlier process kept.
 */
function timeLeft(total: number, clock: () => number): (done: number) => number | undefined {
  let first: { done: number; time: number } | undefined;
  return (done) => {
    first ??= { done, time: clock() };
    if (done <= first.done) return undefined;
    return (((clock() - first.time) / (done - first.done)) * (total - done)) / 1000;
  };
}

/** `1 task`, `2 tasks`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A length of time for people: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
