import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'vitest';

const root = fileURLToPath(new URL('../../../shared/', import.meta.url));

/** Whether the folder of real data and reference values stands beside the checkout. */
export const haveShared = existsSync(`${root}golden`);

/**
 * Folder of the pretrained model all-MiniLM-L6-v2, which shared/tools/get-minilm.sh fetches; undefined where the
 * environment does not name one.
 */
export const minilmFolder = process.env['FLTAC_MINILM'];

/** Absolute path of a file below shared/. */
export function sharedPath(name: string): string {
  return root + name;
}

/** The body is not even run where something is missing: it may read files while it is collected. */
function describeWhere(present: boolean, needs: string, title: string, body: () => void): void {
  if (present) describe(title, body);
  else it.skip(`${title} (needs ${needs})`, () => undefined);
}

/** A describe block that needs shared/: one skipped test, titled so, where the folder is missing. */
export function describeWithShared(title: string, body: () => void): void {
  describeWhere(haveShared, '../shared', title, body);
}

/** A describe block that needs shared/ and the pretrained model. */
export function describeWithMinilm(title: string, body: (modelFolder: string) => void): void {
  const folder = minilmFolder;
  const present = haveShared && folder !== undefined;
  describeWhere(present, '../shared and FLTAC_MINILM', title, () => {
    if (folder !== undefined) body(folder);
  });
}
