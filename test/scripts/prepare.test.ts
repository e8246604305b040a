import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/engine/load.js';
import { temporaryFolder } from '../support/files.js';

/** A checkout whose compiler is a mark: the file that its run leaves. */
class Checkout {
  readonly folder = temporaryFolder();

  constructor() {
    for (const name of ['scripts', 'src', 'dist/cli', 'node_modules/typescript']) {
      mkdirSync(join(this.folder, name), { recursive: true });
    }
    for (const name of ['prepare.mjs', 'link-bin.mjs']) {
      copyFileSync(join(packageRoot, 'scripts', name), join(this.folder, 'scripts', name));
    }
    this.write('package.json', JSON.stringify({ scripts: { 'build:ts': 'echo compiled > compiled' } }), 10);
    for (const name of ['tsconfig.json', 'tsconfig.build.json', 'src/index.ts', 'src/more.ts'])
      this.write(name, '', 10);
    for (const name of ['dist/index.js', 'dist/more.js', 'dist/cli/main.js']) this.write(name, '', 20);
  }

  write(name: string, text: string, second: number): void {
    writeFileSync(join(this.folder, name), text);
    utimesSync(join(this.folder, name), second, second);
  }

  remove(name: string): void {
    rmSync(join(this.folder, name), { recursive: true });
  }

  /** @returns the exit code, and whether it compiled */
  prepare(command = 'ci'): [number | null, boolean] {
    const env = { ...process.env, npm_command: command };
    const { status } = spawnSync(process.execPath, [join(this.folder, 'scripts', 'prepare.mjs')], { env });
    return [status, existsSync(join(this.folder, 'compiled'))];
  }
}

describe("npm's prepare", () => {
  it('compiles nothing where all is compiled, and links the command all the same', () => {
    const checkout = new Checkout();
    expect(checkout.prepare('exec')).toEqual([0, false]);
    if (process.platform !== 'win32') expect(existsSync(join(checkout.folder, 'node_modules/.bin/fltac'))).toBe(true);
  });

  it.each([
    ['a source is newer', (checkout: Checkout) => checkout.write('src/more.ts', '', 30)],
    ['a setting is newer', (checkout: Checkout) => checkout.write('tsconfig.build.json', '', 30)],
    ['a compiled file is missing', (checkout: Checkout) => checkout.remove('dist/more.js')],
    ['nothing is compiled', (checkout: Checkout) => checkout.remove('dist')],
  ])('compiles where %s', (_, change) => {
    const checkout = new Checkout();
    change(checkout);
    expect(checkout.prepare()).toEqual([0, true]);
  });

  it('lets npx go by before npm ci, which it would otherwise never recover from, and nothing else', () => {
    const checkout = new Checkout();
    checkout.remove('dist');
    checkout.remove('node_modules');
    expect(checkout.prepare('exec')).toEqual([0, false]);
    checkout.write('package.json', JSON.stringify({ scripts: { 'build:ts': 'exit 1' } }), 10);
    expect(checkout.prepare('pack')[0]).not.toBe(0);
  });
});
