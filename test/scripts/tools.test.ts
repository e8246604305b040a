import { describe, expect, it } from 'vitest';
import {
  atLeast,
  checkTools,
  compilerKind,
  gatherTools,
  missingToolsMessage,
  parseVersion,
} from '../../scripts/lib/tools.mjs';
import type { ToolFacts } from '../../scripts/lib/tools.mjs';
import { packageRoot } from '../../src/engine/load.js';

const enough: ToolFacts = {
  platform: 'linux',
  node: '20.17.0',
  packages: true,
  cmake: { version: [3, 18, 0] },
  compiler: { command: 'g++', kind: 'g++', version: [11, 0, 0] },
  generator: { name: 'Unix Makefiles', command: 'make' },
  cxx: undefined,
};

const failing = (facts: Partial<ToolFacts>): string[] =>
  checkTools({ ...enough, ...facts })
    .filter((check) => !check.ok)
    .map((check) => check.name);

describe('versions', () => {
  it('are the first dotted number of a text', () => {
    expect(parseVersion('cmake version 3.25.1')).toEqual([3, 25, 1]);
    expect(parseVersion('g++ (Debian 12.2.0-14+deb12u1) 12.2.0')).toEqual([12, 2, 0]);
    expect(parseVersion('13')).toEqual([13, 0, 0]);
    expect(parseVersion('none')).toBeUndefined();
  });

  it('are compared part by part, missing parts counting as 0', () => {
    expect(atLeast([3, 18], [3, 18, 0])).toBe(true);
    expect(atLeast([3, 9, 9], [3, 18])).toBe(false);
    expect(atLeast([20, 17, 0], [20, 17])).toBe(true);
    expect(atLeast([20, 16, 9], [20, 17])).toBe(false);
    expect(atLeast([21], [20, 17])).toBe(true);
  });

  it('belong to the compiler that the banner names, whatever the command is called', () => {
    expect(compilerKind('Apple clang version 15.0.0 (clang-1500.3.9.4)')).toBe('clang++');
    expect(compilerKind('c++ (Ubuntu 11.4.0) 11.4.0')).toBe('g++');
  });
});

describe('the tool checks', () => {
  it('accept exactly the least versions', () => {
    expect(failing({})).toEqual([]);
    expect(failing({ compiler: { command: 'clang++', kind: 'clang++', version: [14, 0, 0] } })).toEqual([]);
  });

  it.each<[string, Partial<ToolFacts>]>([
    ['Node', { node: '20.16.0' }],
    ['Node', { node: '18.20.4' }],
    ['npm packages', { packages: false }],
    ['CMake', { cmake: undefined }],
    ['CMake', { cmake: { version: [3, 17, 5] } }],
    ['C++ compiler', { compiler: undefined }],
    ['C++ compiler', { compiler: { command: 'g++', kind: 'g++', version: [10, 2, 1] } }],
    ['C++ compiler', { compiler: { command: 'clang++', kind: 'clang++', version: [13, 0, 1] } }],
    ['C++ compiler', { compiler: { command: 'g++', kind: 'g++', version: undefined } }],
    ['build tool', { generator: undefined }],
  ])('refuse %s where it is %j', (name, facts) => {
    expect(failing(facts)).toEqual([name]);
  });

  it('name every missing tool at once, each with what is required, what was found and the fix', () => {
    const checks = checkTools({
      ...enough,
      node: '18.0.0',
      cmake: undefined,
      compiler: undefined,
      generator: undefined,
    });
    const message = missingToolsMessage(checks) ?? '';
    expect(message).toContain('needs 4 more tools');
    for (const part of [
      'Node: 20.17 or newer is required, found: 18.0.0',
      'CMake: 3.18 or newer is required, found: not found',
      'sudo apt-get install cmake',
      'sudo apt-get install g++',
      'sudo apt-get install ninja-build',
    ]) {
      expect(message).toContain(part);
    }
  });

  it('name the fixes of the platform they run on', () => {
    const checks = checkTools({ ...enough, platform: 'darwin', cmake: undefined, compiler: undefined });
    expect(missingToolsMessage(checks)).toMatch(/brew install cmake[^]*xcode-select --install/);
  });

  it('have nothing to say when all tools will do', () => {
    expect(missingToolsMessage(checkTools(enough))).toBeUndefined();
  });

  it('name the compiler that CXX asks for where it is not there', () => {
    const facts = gatherTools(packageRoot, { ...process.env, CXX: 'no-such-compiler' });
    expect(facts.compiler).toBeUndefined();
    expect(missingToolsMessage(checkTools(facts))).toContain('no-such-compiler not found');
  });
});
