import type { FaultRow } from './rows.mjs';

/** Arguments of a run of a few seconds; a further `key=value` may follow them. */
export const SHORT: readonly string[];
export const runRows: readonly FaultRow[];
