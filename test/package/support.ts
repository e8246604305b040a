/** The package as `npm pack` makes it, unpacked where a project would have it installed. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/engine/load.js';

/** One file of the package, as npm lists it. */
export interface PackedFile {
  path: string;
  size: number;
}

export interface Packed {
  files: readonly PackedFile[];
  /** bytes of the tarball */
  size: number;
  filename: string;
}

/** Packs what is built: `prepare`, which compiles the TypeScript, does not run. */
export function pack(...flags: string[]): Packed {
  const args = ['pack', '--json', '--ignore-scripts', ...flags];
  const [packed] = JSON.parse(execFileSync('npm', args, { cwd: packageRoot, encoding: 'utf8' })) as Packed[];
  return packed!;
}

/**
 * Unpacks the package into `project`/node_modules. Its dependencies and the compiled engine are those of this checkout:
 * a registry and a compiler are not needed.
 */
export function installPacked(project: string): string {
  const { filename } = pack('--pack-destination', project);
  const modules = join(project, 'node_modules');
  mkdirSync(modules);
  execFileSync('tar', ['-xzf', join(project, filename), '-C', modules]);
  const installed = join(modules, 'fltac');
  renameSync(join(modules, 'package'), installed);
  symlinkSync(join(packageRoot, 'build'), join(installed, 'build'));
  const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(dependencies), '@types/node', 'undici-types']) {
    const parent = join(modules, name, '..');
    mkdirSync(parent, { recursive: true });
    symlinkSync(join(packageRoot, 'node_modules', name), join(modules, name));
  }
  return installed;
}

/** All files below a folder of the checkout, relative to its root, with / between the parts. */
export function filesBelow(folder: string): string[] {
  return readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(packageRoot.length));
}
