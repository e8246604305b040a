import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';

const root = fileURLToPath(new URL('../../../shared/', import.meta.url));

/** Whether the folder of real data and reference values stands beside the checkout. */
export const haveShared = existsSync(`${root}golden`);

if (!haveShared) console.warn('shared/ is not beside this checkout: the tests that need its data are skipped');

/** Absolute path of a file below shared/. */
export function sharedPath(name: string): string {
  return root + name;
}

/** A describe block that needs shared/: skipped, and titled so, where the folder is missing. */
export function describeWithShared(title: string, body: () => void): void {
  if (haveShared) describe(title, body);
  else describe.skip(`${title} (needs ../shared)`, body);
}
