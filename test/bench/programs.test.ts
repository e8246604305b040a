// The programs of bench/ and scripts/ are no part of the build: what they import of dist/ must be there.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const IMPORT = /^import\s*\{([^}]*)\}\s*from\s*'(\.[^']*\/dist\/[^']*)'/gm;

const programs = ['bench', 'scripts'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.mjs'))
    .map((name) => join(root, folder, name)),
);
const imports = programs.flatMap((program) =>
  [...readFileSync(program, 'utf8').matchAll(IMPORT)].map(([, names, from]) => ({
    program: relative(root, program),
    module: resolve(dirname(program), from!),
    names: names!.split(',').flatMap((name) => name.trim().split(/\s+as\s+/)[0] || []),
  })),
);

describe('programs beside the package', () => {
  it('are found', () => {
    expect(imports.length).toBeGreaterThan(8);
  });

  // Without this one, which runs where it is imported.
  const modules = imports.filter(({ module }) => !module.endsWith('cli/main.js'));
  it.each(modules)('$program imports what is there: $names', async ({ module, names }) => {
    expect(Object.keys((await import(module)) as object)).toEqual(expect.arrayContaining(names));
  });
});
