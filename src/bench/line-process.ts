/** A child process that answers each line it is sent with one line of JSON. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { FltacError, messageOf } from '../errors.js';
import type { ErrorCode } from '../errors.js';

/** Characters of the child's stderr that are kept for an error message. */
const KEPT = 2000;

/** What a child that cannot go on answers: an error of fltac's own, or the words of a peer. */
export interface Failure {
  failed: { code: ErrorCode; message: string } | string;
}

/** An error as the line that tells of it. */
export function failureOf(error: unknown): Failure {
  return { failed: { code: error instanceof FltacError ? error.code : 'INTERNAL', message: messageOf(error) } };
}

function isFailure(value: unknown): value is Failure {
  return typeof value === 'object' && value !== null && 'failed' in value;
}

/** What Node adds below an error that nobody caught: the stack and its own version. */
const NODE_ADDS = /^(?:\s+at |Node\.js v\d|[{}]?\s*$)/;

export interface LineProcessOptions {
  /** names the process in errors */
  title: string;
  command: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  /** ends the process */
  signal: AbortSignal;
}

export class LineProcess {
  readonly #title: string;
  readonly #signal: AbortSignal;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<string>;
  #errors = '';

  /** Starts it; that it could not be started is told by the first `read`. */
  constructor({ title, command, args, env, signal }: LineProcessOptions) {
    this.#title = title;
    this.#signal = signal;
    this.#child = spawn(command, args, { env, signal });
    this.#ended = once(this.#child, 'close').then(
      ([code, name]) => (typeof code === 'number' ? `exit code ${code}` : `signal ${String(name)}`),
      (error: unknown) => messageOf(error),
    );
    // A child that is gone makes writing fail; `read` tells why it is gone.
    this.#child.stdin.on('error', () => undefined);
    this.#child.stderr.on('data', (data: Buffer) => {
      this.#errors = (this.#errors + data.toString()).slice(-KEPT);
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Sends a line and waits for the answer. @throws as read */
  async ask(line: string): Promise<unknown> {
    this.#child.stdin.write(`${line}\n`);
    return this.read();
  }

  /**
   * The next line.
   * @throws FltacError the child's own where it answers with a failure (IO for a peer's); IO where the process ends instead,
   *   with the last line of its stderr; ABORTED
   */
  async read(): Promise<unknown> {
    const { value, done } = (await this.#lines.next()) as { value: string; done?: boolean };
    if (done !== true) return this.#sound(this.#parse(value));
    const end = await this.#ended;
    // Ctrl-C reaches the child too, which may be gone before it can be killed.
    if (this.#child.killed || this.#signal.aborted) throw new FltacError('ABORTED', `${this.#title} was stopped`);
    const last = this.#errors
      .split('\n')
      .filter((line) => !NODE_ADDS.test(line))
      .at(-1)
      ?.trim();
    throw new FltacError('IO', `${this.#title} ended early (${end})${last === undefined ? '' : `: ${last}`}`);
  }

  #sound(answer: unknown): unknown {
    if (!isFailure(answer)) return answer;
    const { failed } = answer;
    if (typeof failed === 'string') throw new FltacError('IO', `${this.#title}: ${failed}`);
    throw new FltacError(failed.code, failed.message);
  }

  #parse(line: string): unknown {
    try {
      return JSON.parse(line);
    } catch (cause) {
      throw new FltacError('IO', `${this.#title}: expected a line of JSON, found ${line.slice(0, 80)}`, { cause });
    }
  }

  /** Lets it end. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }
}
