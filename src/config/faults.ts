/** What is wrong with a configuration, gathered so that all of it is told at once. */
import { FltacError } from '../errors.js';

export interface Fault {
  /** where it was given: `file.yaml:12`, `--override lr=x`, `--lr` */
  origin: string;
  /** what is wrong and, where known, what is right */
  message: string;
}

/** More than this nobody reads: the file is another one than it was taken for. */
const MOST_SHOWN = 40;
/** Names and values come from files and may be of any length. */
const LONGEST = 500;

/** @throws USAGE one error with every fault, where there is any */
export function throwFaults(faults: readonly Fault[], hint: string): void {
  if (faults.length === 0) return;
  const all = faults.map(({ origin, message }) => cut(`${origin}: ${message}`));
  const more = all.length - MOST_SHOWN;
  const lines = more > 0 ? [...all.slice(0, MOST_SHOWN), `and ${more} more`] : all;
  if (lines.length === 1) throw new FltacError('USAGE', `${lines.join('')}\n${hint}`);
  throw new FltacError('USAGE', `${faults.length} problems:\n${lines.map((line) => `  ${line}`).join('\n')}\n${hint}`);
}

function cut(line: string): string {
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}
