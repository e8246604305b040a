#!/usr/bin/env node
// Damaged inputs for every parser of what comes from elsewhere: `npm run test:fuzz [-- --inputs N] [--seed S]`.
// The native parsers run under AddressSanitizer and UndefinedBehaviorSanitizer; 100,000 inputs each take some minutes, those
// of TypeScript's parsers some minutes more for each. docs/reliability.md tells what came of it.
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

/** No input has more than some kilobytes: an allocation beyond this is one that the input only claims. */
const ASAN_OPTIONS = 'max_allocation_size_mb=64:allocator_may_return_null=0:detect_leaks=0:hard_rss_limit_mb=4096';

const folder = mkdtempSync(join(tmpdir(), 'fltac-fuzz-'));
const env = { ...process.env, TMPDIR: folder, ASAN_OPTIONS, UBSAN_OPTIONS: 'print_stacktrace=1' };
const steps = [
  ['the native tests', process.execPath, [join(root, 'scripts', 'build-native.mjs'), '--tests']],
  ['the sanitized parsers', 'cmake', ['--build', join(root, 'build', 'cmake'), '--target', 'fuzz_sanitized']],
  [
    'the native parsers',
    join(root, 'build', 'native-tests', 'fuzz_sanitized'),
    ['--inputs', String(inputs), '--seed', String(seed)],
  ],
  ["TypeScript's parsers", process.execPath, [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', 'test/fuzz']],
];
try {
  for (const [what, command, args] of steps) {
    const { status } = await run(command, args, {
      cwd: root,
      env: { ...env, FLTAC_FUZZ_INPUTS: String(inputs), FLTAC_FUZZ_SEED: String(seed) },
    });
    if (status === 0) continue;
    console.error(`\n[fltac fuzz] ${what}: failed with exit status ${status}`);
    process.exitCode = 1;
    break;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
