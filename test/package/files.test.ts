import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/engine/load.js';
import { filesBelow, pack, type Packed } from './support.js';

let packed: Packed;
beforeAll(() => {
  packed = pack('--dry-run');
});
const paths = () => packed.files.map((file) => file.path);

describe('the package', () => {
  it.each(['native', 'cmake', 'configs', 'examples', 'quickstart', 'scripts/lib', 'docs'])(
    'has all of %s',
    (folder) => {
      const own = filesBelow(folder);
      expect(own.length).toBeGreaterThan(0);
      expect(own.filter((file) => !paths().includes(file))).toEqual([]);
    },
  );

  it('has what npm, a build and a reader look for at its root', () => {
    const root = ['package.json', 'README.md', 'LICENSE', 'THIRD_PARTY_NOTICES.md', 'CHANGELOG.md', 'CITATION.cff'];
    const build = ['CMakeLists.txt', 'binding.gyp', 'scripts/build-native.mjs'];
    expect(paths()).toEqual(expect.arrayContaining([...root, ...build]));
  });

  it('has whatever its pages link to', () => {
    const pages = paths().filter((path) => path.endsWith('.md'));
    const broken = pages.flatMap((page) =>
      [...readFileSync(join(packageRoot, page), 'utf8').matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)]
        .map(([, link]) => posix.join(posix.dirname(page), link!).replace(/\/$/, ''))
        .filter((target) => !paths().some((path) => path === target || path.startsWith(`${target}/`)))
        .map((target) => `${page}: ${target}`),
    );
    expect(pages).toContain('README.md');
    expect(broken).toEqual([]);
  });

  it('has the compiled TypeScript of every source, with its types', () => {
    const sources = filesBelow('src').filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'));
    const compiled = sources.flatMap((file) => {
      const name = file.replace(/^src/, 'dist').replace(/\.ts$/, '');
      return [`${name}.js`, `${name}.d.ts`];
    });
    expect(compiled.filter((file) => !paths().includes(file))).toEqual([]);
  });

  it('has nothing of the tests, of what is made on a machine, or of a source that is gone', () => {
    const leaked = /^(test|build|results|hf_cache|\.libtorch|node_modules|src)\/|\.map$|\.tgz$|\.log$|\/\.|^\./;
    expect(paths().filter((file) => leaked.test(file))).toEqual([]);
    const gone = paths().filter((file) => /^dist\/.*\.d\.ts$/.test(file));
    const sources = filesBelow('src');
    expect(gone.filter((file) => !sources.includes(file.replace(/^dist/, 'src').replace(/\.d\.ts$/, '.ts')))).toEqual(
      [],
    );
  });

  it('is small: less than 2.5 MB to download', () => {
    expect(packed.size).toBeLessThan(2.5e6);
  });
});
