/** What is wrong with a configuration, gathered so that all of it is told at once. */
import { FltacError } from '../errors.js';

export interface Fault {
  /** where it was given: `file.yaml:12`, `--override lr=x`, `--lr` */
  origin: string;
  /** what is wrong and, where known, what is right */
  message: string;
}

/** @throws USAGE one error with every fault, where there is any */
export function throwFaults(faults: readonly Fault[], hint: string): void {
  if (faults.length === 0) return;
  const lines = faults.map(({ origin, message }) => `${origin}: ${message}`);
  if (lines.length === 1) throw new FltacError('USAGE', `${lines.join('')}\n${hint}`);
  throw new FltacError('USAGE', `${lines.length} problems:\n${lines.map((line) => `  ${line}`).join('\n')}\n${hint}`);
}
