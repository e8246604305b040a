import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  boundProductCaches,
  chooseWaitPolicy,
  explainLoadFailure,
  loadAddon,
  NATIVE_ABI,
  packageRoot,
} from '../../src/engine/load.js';
import { FltacError } from '../../src/errors.js';

describe('the wait policy of OpenMP', () => {
  it('is passive by default', () => {
    const env: NodeJS.ProcessEnv = {};
    chooseWaitPolicy(env);
    expect(env['OMP_WAIT_POLICY']).toBe('PASSIVE');
  });

  it.each(['OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'])('is left alone where %s is set', (name) => {
    const env: NodeJS.ProcessEnv = { [name]: 'ACTIVE' };
    chooseWaitPolicy(env);
    expect(env).toEqual({ [name]: 'ACTIVE' });
  });

  it.runIf(process.platform === 'linux')('set from JavaScript is what OpenMP reads when the addon is loaded', () => {
    const script = `process.env.OMP_DISPLAY_ENV = 'true';
      process.env.OMP_WAIT_POLICY = 'PASSIVE';
      require('bindings')({ bindings: 'fltac', module_root: process.cwd() });`;
    const env = { ...process.env };
    delete env['OMP_WAIT_POLICY'];
    const child = spawnSync(process.execPath, ['-e', script], { cwd: packageRoot, env, encoding: 'utf8' });
    expect(child.stderr).toContain("OMP_WAIT_POLICY = 'PASSIVE'");
  });
});

describe('the caches of compiled products', () => {
  it('keep 64 by default', () => {
    const env: NodeJS.ProcessEnv = {};
    boundProductCaches(env);
    expect(env).toEqual({ ONEDNN_PRIMITIVE_CACHE_CAPACITY: '64', LRU_CACHE_CAPACITY: '64' });
  });

  it.each(['ONEDNN_PRIMITIVE_CACHE_CAPACITY', 'LRU_CACHE_CAPACITY'])('keep as many as %s says', (name) => {
    const env: NodeJS.ProcessEnv = { [name]: '1024' };
    boundProductCaches(env);
    expect(env).toMatchObject({ [name]: '1024' });
    expect(Object.values(env).sort()).toEqual(['1024', '64']);
  });
});

describe('a failed load of the addon', () => {
  it.each([
    ['Could not locate the bindings file. Tried:\n → a\n → b', 'it has not been built. Expected'],
    ['libtorch_cpu.so: cannot open shared object file: No such file or directory', 'is gone (libtorch_cpu.so'],
    ["/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found", 'built on a newer system'],
    ['fltac.node: undefined symbol: _ZN3c105ErrorC1E', 'not the one it was built with'],
    ['fltac.node: file too short', 'the file is damaged'],
    ['something new', 'the system refuses it (something new)'],
  ])('is explained: %s', (message, explanation) => {
    const text = explainLoadFailure(new Error(message));
    expect(text).toContain(explanation);
    expect(text).toContain(`interface ${NATIVE_ABI}`);
    expect(text).toMatch(/Run: npx fltac build$/);
  });
});

describe('the addon', () => {
  it('is loaded once and has the interface that this TypeScript is written for', () => {
    const addon = loadAddon();
    expect(addon.abiVersion).toBe(NATIVE_ABI);
    expect(loadAddon()).toBe(addon);
  });

  it('states the same interface number in C++', () => {
    const source = readFileSync(join(packageRoot, 'native', 'addon.cc'), 'utf8');
    expect(/kAbiVersion = (\d+);/.exec(source)?.[1]).toBe(String(NATIVE_ABI));
  });

  it('is loaded with passive OpenMP threads unless the user chose otherwise', () => {
    loadAddon();
    expect(
      process.env['OMP_WAIT_POLICY'] ?? process.env['GOMP_SPINCOUNT'] ?? process.env['KMP_BLOCKTIME'],
    ).toBeDefined();
  });

  it('uses one OpenMP runtime: the one that libtorch brings', () => {
    loadAddon();
    if (process.platform !== 'linux') return;
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
    const runtimes = new Set(maps.map((line) => line.split(/\s+/)[5] ?? '').filter((path) => /lib[gi]?omp/.test(path)));
    expect([...runtimes]).toHaveLength(1);
  });

  it('throws FltacError', () => {
    const addon = loadAddon() as unknown as { setThreads: (count: number) => void };
    expect(() => addon.setThreads(0)).toThrow(FltacError);
  });
});
