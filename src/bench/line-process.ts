/** A child process that answers each line it is sent with one line of JSON. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { FltacError, messageOf } from '../errors.js';

/** Characters of the child's stderr that are kept for an error message. */
const KEPT = 2000;

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

  /** The next line. @throws FltacError IO where the process ends instead, with the last line of its stderr; ABORTED */
  async read(): Promise<unknown> {
    const { value, done } = (await this.#lines.next()) as { value: string; done?: boolean };
    if (done !== true) return this.#parse(value);
    const end = await this.#ended;
    // Ctrl-C reaches the child too, which may be gone before it can be killed.
    if (this.#child.killed || this.#signal.aborted) throw new FltacError('ABORTED', `${this.#title} was stopped`);
    const last = this.#errors.trim().split('\n').at(-1) ?? '';
    throw new FltacError('IO', `${this.#title} ended early (${end})${last === '' ? '' : `: ${last}`}`);
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
