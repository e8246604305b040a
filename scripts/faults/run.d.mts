import type { FaultRow } from './rows.mjs';

export type Outcome =
  | { skipped: string }
  | {
      exit: number | string;
      message: string;
      /** files that the command left, in words */
      left: string[];
      /** ways in which it did not end as it must */
      problems: string[];
    };

export function missingFor(row: FaultRow): string | undefined;
export function runRow(row: FaultRow): Promise<Outcome>;
