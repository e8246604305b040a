/** Folders for tests: fixtures of this repository and temporary ones that vanish. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** Absolute path of a file below test/fixtures/data/. */
export function dataFixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/data/${name}`, import.meta.url));
}

/** Absolute path of a file below test/fixtures/images/. */
export function imageFixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/images/${name}`, import.meta.url));
}

/** Absolute path of a folder below test/fixtures/families/. */
export function familyFixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/families/${name}`, import.meta.url));
}

/** A new empty folder, removed when the running test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fltac-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
