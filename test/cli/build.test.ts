import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runScript } from '../../src/cli/commands/build.js';
import { temporaryFolder } from '../support/files.js';

function scriptOf(text: string): string {
  const file = join(temporaryFolder(), 'script.mjs');
  writeFileSync(file, text);
  return file;
}

it('passes a signal on to the build, and ends as it ends', async () => {
  const listeners = process.listenerCount('SIGHUP');
  const ended = runScript(scriptOf('setTimeout(() => undefined, 60_000);'));
  process.emit('SIGHUP', 'SIGHUP');
  expect(await ended).toBe(128 + 1);
  expect(process.listenerCount('SIGHUP')).toBe(listeners);
});

it("has the build's exit code", async () => {
  expect(await runScript(scriptOf('process.exitCode = 3;'))).toBe(3);
});
