/** Keeps a small file from growing without bound while it is read. */
import { FltacError } from '../errors.js';

/** What every file may come to, however small. */
const FREE_BYTES = 64 * 1024 * 1024;
/** Real data are compressed to a third or a tenth; texts that repeat in a dictionary to less. */
const MOST_PER_BYTE = 200;

/** Counts what is made of a file's bytes. */
export class Expansion {
  private used = 0;
  private readonly most: number;

  constructor(
    private readonly path: string,
    /** bytes of the file */
    private readonly size: number,
  ) {
    this.most = FREE_BYTES + MOST_PER_BYTE * size;
  }

  /** @throws FORMAT once more has been made of the file than of any honest one */
  add(bytes: number): void {
    this.used += bytes;
    if (this.used <= this.most) return;
    throw new FltacError(
      'FORMAT',
      `${this.path}: its ${this.size} bytes expand to more than ${this.most} (${MOST_PER_BYTE} times and 64 MiB): a ` +
        'decompression bomb, or a file to be written again with less compression',
    );
  }
}
