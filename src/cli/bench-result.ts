/** What both benchmarks do around measuring: the Python of the peers beforehand, the result at the end. */
import { programFault } from '../bench/program.js';
import { FltacError } from '../errors.js';
import { writeJsonFile } from '../run/files.js';
import { printResult, type Format, type Io } from './io.js';

/** @throws FltacError USAGE for an interpreter that the user named and that cannot be started */
export async function assertPython(python: string, env: NodeJS.ProcessEnv): Promise<void> {
  const fault = await programFault(python, env);
  if (fault !== undefined) throw new FltacError('USAGE', `--python ${python}: ${fault}`);
}

/**
 * Writes a result to `out`, where there is one, and prints it, even where it cannot be written.
 * @throws FltacError IO, after it is printed
 */
export async function deliver<T>(
  io: Io,
  { format, out }: { format: Format; out?: string | undefined },
  result: T,
  text: (result: T) => string,
): Promise<void> {
  try {
    // Written first: a reader of stdout may be gone, which ends the process.
    if (out !== undefined) await writeJsonFile(out, result);
  } finally {
    printResult(io, format, result, text);
  }
}
