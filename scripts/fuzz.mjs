#!/usr/bin/env node
// Damaged inputs for every parser in TypeScript of what comes from elsewhere: `npm run test:fuzz [-- --inputs N] [--seed S]`.
// 100,000 inputs take some minutes for each. docs/reliability.md tells what came of it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run } from './lib/process.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A number of an option, or exit code 2. */
function count(name, text) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  console.error(`--${name} must be a whole number, 1 or more, not ${text}`);
  process.exit(2);
}

const { values } = parseArgs({
  options: { inputs: { type: 'string', default: '100000' }, seed: { type: 'string', default: '2024' } },
});
const inputs = count('inputs', values.inputs);
const seed = count('seed', values.seed);

const folder = mkdtempSync(join(tmpdir(), 'fltac-fuzz-'));
const env = { ...process.env, TMPDIR: folder, FLTAC_FUZZ_INPUTS: String(inputs), FLTAC_FUZZ_SEED: String(seed) };
try {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const { status } = await run(process.execPath, [vitest, 'run', 'test/fuzz'], { cwd: root, env });
  process.exitCode = status === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
