import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { adviceFor, cmakeVariables, jobCount } from '../../scripts/lib/compile.mjs';
import { pipAttempts } from '../../scripts/lib/install-libtorch.mjs';

describe('compiling', () => {
  it('runs one compiler a core, fewer where memory is short, never none', () => {
    expect(jobCount({}, 16, 64e9)).toBe(16);
    expect(jobCount({}, 16, 4e9)).toBe(2);
    expect(jobCount({}, 2, 1e9)).toBe(1);
  });

  it('follows CMAKE_BUILD_PARALLEL_LEVEL', () => {
    expect(jobCount({ CMAKE_BUILD_PARALLEL_LEVEL: '3' }, 16, 4e9)).toBe(3);
    expect(jobCount({ CMAKE_BUILD_PARALLEL_LEVEL: 'many' }, 4, 64e9)).toBe(4);
  });

  it.each([
    ["cc1plus: error: unused variable 'x' [-Werror=unused-variable]", 'FLTAC_WERROR=off'],
    ['c++: fatal error: Killed signal terminated program cc1plus', 'CMAKE_BUILD_PARALLEL_LEVEL=1'],
    ['fatal error: napi.h: No such file or directory', 'npm ci'],
    ['fatal error: error writing to x.o: No space left on device', 'disk is full'],
  ])('knows what helps against: %s', (output, advice) => {
    expect(adviceFor(output)).toContain(advice);
  });

  it('gives no advice where it knows none', () => {
    expect(adviceFor("error: 'x' was not declared in this scope")).toBeUndefined();
  });
});

describe('the CMake variables', () => {
  let root = '';
  const tools = { compiler: { command: 'g++-12', kind: 'g++' as const, version: [12, 0, 0] } };
  const variables = (env: NodeJS.ProcessEnv = {}): Record<string, string> =>
    cmakeVariables(root, { prefix: '/torch' }, tools, env);

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'fltac-build-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  it('carry the chosen compiler and libtorch, and put the addon where bindings looks', () => {
    expect(variables()).toMatchObject({
      CMAKE_CXX_COMPILER: 'g++-12',
      LIBTORCH: '/torch',
      CMAKE_LIBRARY_OUTPUT_DIRECTORY: join(root, 'build/linked'),
      FLTAC_CUDA: 'auto',
    });
  });

  it('follow FLTAC_CUDA and FLTAC_WERROR', () => {
    expect(variables({ FLTAC_CUDA: 'OFF', FLTAC_WERROR: 'off' })).toMatchObject({
      FLTAC_CUDA: 'off',
      FLTAC_WERROR: 'OFF',
    });
  });

  it('make warnings errors in a checkout, and not where the package is installed', () => {
    expect(variables()['FLTAC_WERROR']).toBe('OFF');
    expect(variables({ FLTAC_WERROR: 'on' })['FLTAC_WERROR']).toBe('ON');
    addNativeTest();
    expect(variables()['FLTAC_WERROR']).toBe('ON');
  });

  function addNativeTest(): void {
    mkdirSync(join(root, 'test/native'), { recursive: true });
    writeFileSync(join(root, 'test/native/bank_test.cc'), '');
  }

  it('have rules for the native tests where their sources are, as in a checkout but not in an installed package', () => {
    expect(variables()['FLTAC_BUILD_TESTS']).toBe('OFF');
    addNativeTest();
    expect(variables()['FLTAC_BUILD_TESTS']).toBe('ON');
  });
});

describe('installing with pip', () => {
  const requirements = (cuda: string, version = '3.11'): string[] =>
    pipAttempts('/folder', { version }, cuda).map(([, args]) => args.at(-1) ?? '');

  it('always names the exact version and never touches the environment', () => {
    for (const [, args] of [
      ...pipAttempts('/folder', { version: '3.11' }, 'auto'),
      ...pipAttempts('/f', { version: '3.9' }, 'on'),
    ]) {
      expect(args.at(-1)).toMatch(/^torch==2\.13\.0(\+cpu)?$/);
      expect(args).toContain('--target');
    }
  });

  it('asks for the CPU build first, and for the CUDA build only when FLTAC_CUDA=on', () => {
    expect(requirements('auto').slice(0, 2)).toEqual(['torch==2.13.0+cpu', 'torch==2.13.0']);
    expect(requirements('on')).toEqual(['torch==2.13.0']);
  });

  it('falls back to the wheels of other Pythons, whose libtorch is the same', () => {
    const others = pipAttempts('/folder', { version: '3.12' }, 'off')
      .map(([, args]) => args[args.indexOf('--python-version') + 1])
      .slice(2);
    expect(others).toEqual(['3.11', '3.13', '3.10', '3.14']);
  });
});
