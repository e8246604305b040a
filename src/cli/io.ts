/** Where a command's output goes: results to stdout, all else to stderr. */

export type OutputStream = NodeJS.WritableStream & { isTTY?: boolean };

export interface Io {
  stdout: OutputStream;
  stderr: OutputStream;
  env: NodeJS.ProcessEnv;
}

export type Format = 'text' | 'json';

/** Prints a result as text, or as indented JSON. */
export function printResult<T>(io: Io, format: Format, result: T, text: (result: T) => string): void {
  const shown = format === 'json' ? JSON.stringify(result, null, 2) : text(result);
  io.stdout.write(shown.endsWith('\n') ? shown : `${shown}\n`);
}

/** Whether tables get lines (on a terminal) or only aligned columns. */
export function tableStyle(io: Io): 'drawn' | 'plain' {
  return io.stdout.isTTY === true ? 'drawn' : 'plain';
}
