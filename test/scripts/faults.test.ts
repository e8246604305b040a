import { describe, expect, it } from 'vitest';
import { GROUPS } from '../../scripts/faults/rows.mjs';
import { runRow } from '../../scripts/faults/run.mjs';

describe.each(GROUPS)('faults of $title', ({ rows }) => {
  it.each(rows)('end in one message and nothing half done: $fault', async (row) => {
    const outcome = await runRow(row);
    if ('skipped' in outcome) console.info(`skipped: ${row.fault}: ${outcome.skipped}`);
    else expect(outcome.problems).toEqual([]);
  });
});
