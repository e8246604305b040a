/**
 * What fltac says while it works: notes, warnings and progress, all on stderr, so that stdout holds results only.
 * A bar with the time left is drawn on a terminal; elsewhere progress is a plain line now and then.
 */
import cliProgress from 'cli-progress';
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
  /** `done` of the total steps are finished. */
  update(done: number, note?: string): void;
  done(note?: string): void;
}

/** The part of a writable stream that a log needs. */
export interface LogStream {
  write(text: string): unknown;
  isTTY?: boolean;
}

export interface LogOptions {
  /** default: process.stderr */
  stream?: LogStream & NodeJS.WritableStream;
  /** default: process.env; NO_COLOR (any value but empty) switches colours off, TERM=dumb the bar too */
  env?: NodeJS.ProcessEnv;
  /** least milliseconds between two plain progress lines; default 5000 */
  lineEveryMs?: number;
  /** milliseconds since some fixed moment; default Date.now */
  clock?: () => number;
}

const YELLOW = '\u001b[33m';
const RESET = '\u001b[0m';
const CLEAR_LINE = '\r\u001b[K';

/** Makes the log of a command. */
export function createLog(options: LogOptions = {}): Log {
  const stream = options.stream ?? process.stderr;
  const env = options.env ?? process.env;
  const terminal = (stream as LogStream).isTTY === true && env['TERM'] !== 'dumb';
  const colour = terminal && (env['NO_COLOR'] ?? '') === '';
  let bars = 0;
  const redact = redactor(env);
  const line = (text: string) => stream.write(`${bars > 0 ? CLEAR_LINE : ''}${redact(text)}\n`);
  return {
    info: (message) => void line(message),
    warn: (message) => void line(colour ? `${YELLOW}warning:${RESET} ${message}` : `warning: ${message}`),
    progress(title, total) {
      if (!terminal) return plainProgress(title, total, line, options);
      bars += 1;
      return barProgress(title, total, stream, () => (bars -= 1));
    },
  };
}

/** A log that keeps silent; for library use and tests that do not look at messages. */
export function silentLog(): Log {
  const nothing = () => undefined;
  return { info: nothing, warn: nothing, progress: () => ({ update: nothing, done: nothing }) };
}

function barProgress(
  title: string,
  total: number,
  stream: NodeJS.WritableStream,
  onEnd: () => unknown,
): ProgressHandle {
  const bar = new cliProgress.SingleBar(
    {
      stream,
      format: `${title} [{bar}] {percentage}% {value}/{total} ETA {eta_formatted} {note}`,
      barCompleteChar: '#',
      barIncompleteChar: '-',
      barsize: 30,
      fps: 5,
      // The cursor stays visible, so that an interrupted run leaves the terminal as it found it.
      hideCursor: false,
      clearOnComplete: true,
    },
    cliProgress.Presets.legacy,
  );
  bar.start(total, 0, { note: '' });
  let ended = false;
  return {
    update: (done, note) => bar.update(done, note === undefined ? {} : { note }),
    done(note) {
      if (ended) return;
      ended = true;
      bar.stop();
      onEnd();
      if (note !== undefined) stream.write(`${title}: ${note}\n`);
    },
  };
}

function plainProgress(
  title: string,
  total: number,
  line: (text: string) => unknown,
  options: LogOptions,
): ProgressHandle {
  const clock = options.clock ?? Date.now;
  const every = options.lineEveryMs ?? 5000;
  const started = clock();
  let last = started;
  let ended = false;
  return {
    update(done, note) {
      const now = clock();
      if (ended || now - last < every || done >= total) return;
      last = now;
      const left = done > 0 ? `, about ${formatSeconds((((now - started) / done) * (total - done)) / 1000)} left` : '';
      line(`${title}: ${done}/${total}${left}${note === undefined ? '' : ` (${note})`}`);
    },
    done(note) {
      if (ended) return;
      ended = true;
      if (note !== undefined) line(`${title}: ${note}`);
    },
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
