/** Lines of text files. */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { FltacError, messageOf } from '../errors.js';

/** A row of a data file is a text of a person, or at most an encoded image; more than this is no line of text. */
export const MOST_LINE_BYTES = 64 * 1024 * 1024;

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = Buffer.from('\u{feff}', 'utf8');

/**
 * The lines of a UTF-8 file, ended by LF or CR LF, without a byte order mark. Not node:readline: from Node 24 on it also
 * splits at U+2028 and U+2029, which may stand inside a JSON text.
 * @throws IO where the file cannot be read; FORMAT naming file and line where a line is not UTF-8 or too long
 */
export async function* linesOf(path: string): AsyncGenerator<string> {
  let line = 0;
  for await (const bytes of byteLinesOf(path)) {
    line += 1;
    yield decode(bytes, line, path);
  }
}

/** Only the pieces of the line that is not whole yet are kept: a long line costs its length, not its square. */
async function* byteLinesOf(path: string): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  let held = 0;
  let line = 1;
  const keep = (piece: Buffer): void => {
    pieces.push(piece);
    held += piece.length;
    if (held <= MOST_LINE_BYTES) return;
    throw new FltacError('FORMAT', `${path}:${line}: expected lines of at most ${MOST_LINE_BYTES} bytes, found more`);
  };
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        keep(chunk.subarray(start, end));
        yield pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
        pieces = [];
        held = 0;
        line += 1;
        start = end + 1;
      }
      if (start < chunk.length) keep(chunk.subarray(start));
    }
  } catch (cause) {
    if (cause instanceof FltacError) throw cause;
    throw new FltacError('IO', `cannot read ${path} (${messageOf(cause)})`, { cause });
  }
  if (held > 0) yield Buffer.concat(pieces);
}

function decode(bytes: Buffer, line: number, path: string): string {
  if (!isUtf8(bytes)) throw notUtf8(`${path}:${line}`);
  const start = line === 1 && bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? 3 : 0;
  const end = bytes.at(-1) === 0x0d ? bytes.length - 1 : bytes.length;
  return bytes.toString('utf8', start, Math.max(start, end));
}

/** The error of a text in another encoding. */
export function notUtf8(place: string): FltacError {
  return new FltacError('FORMAT', `${place}: expected text in UTF-8, found another encoding: save the file as UTF-8`);
}
