/** Runs commands within the test's process, with their output kept. */
import { Writable } from 'node:stream';
import { runCli } from '../../src/cli/run.js';

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** `run('partition', '--scenario', 'glue')`; `env` is all of the environment that the command sees. */
export async function run(...argv: string[]): Promise<Ran> {
  return runWith({}, ...argv);
}

export async function runWith(env: NodeJS.ProcessEnv, ...argv: string[]): Promise<Ran> {
  const stdout = keeper();
  const stderr = keeper();
  const code = await runCli(argv, { stdout, stderr, env });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** A stream that keeps what is written to it. */
export function keeper(): Writable & { text: () => string } {
  const parts: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      parts.push(chunk.toString());
      done();
    },
  });
  return Object.assign(stream, { text: () => parts.join('') });
}
