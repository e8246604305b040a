/** Lines of text files. */
import { createReadStream } from 'node:fs';
import { FltacError, messageOf } from '../errors.js';

/**
 * The lines of a UTF-8 file, ended by LF or CR LF. Not node:readline: from Node 24 on it also splits at U+2028 and
 * U+2029, which may stand inside a JSON text.
 * @throws IO where the file cannot be read
 */
export async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of createReadStream(path, 'utf8')) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop()!;
      for (const line of lines) yield withoutReturn(line);
    }
  } catch (cause) {
    throw new FltacError('IO', `cannot read ${path} (${messageOf(cause)})`, { cause });
  }
  if (rest !== '') yield withoutReturn(rest);
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}
