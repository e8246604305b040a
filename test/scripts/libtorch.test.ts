import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseLibtorch, gatherLibtorch, inspectPrefix } from '../../scripts/lib/libtorch.mjs';
import type { LibtorchFacts, TorchCandidate } from '../../scripts/lib/libtorch.mjs';

const torch = (prefix: string, more: Partial<TorchCandidate> = {}): TorchCandidate => ({
  prefix,
  version: [2, 13, 0],
  cuda: false,
  problem: undefined,
  ...more,
});

const nothing: LibtorchFacts = {
  platform: 'linux',
  cuda: 'auto',
  url: undefined,
  libtorch: undefined,
  torchDir: undefined,
  own: undefined,
  previous: undefined,
  python: undefined,
};

const python = (candidate?: TorchCandidate, pip = true): LibtorchFacts['python'] => ({
  command: 'python3',
  version: '3.11',
  pip,
  torch: candidate,
});

const choose = (facts: Partial<LibtorchFacts>): ReturnType<typeof chooseLibtorch> =>
  chooseLibtorch({ ...nothing, ...facts });

describe('the choice of libtorch', () => {
  it('takes LIBTORCH before Torch_DIR, Torch_DIR before .libtorch/, .libtorch/ before Python', () => {
    const all = { libtorch: torch('/a'), torchDir: torch('/b'), own: torch('/c'), python: python(torch('/d')) };
    expect(choose(all)).toMatchObject({ kind: 'use', source: 'LIBTORCH', prefix: '/a' });
    expect(choose({ ...all, libtorch: undefined })).toMatchObject({ kind: 'use', source: 'Torch_DIR', prefix: '/b' });
    expect(choose({ own: all.own, python: all.python })).toMatchObject({ source: '.libtorch', prefix: '/c' });
    expect(choose({ python: all.python })).toMatchObject({ source: "python3's torch", prefix: '/d' });
  });

  it('uses what the last build used before it installs another, but not before what is there', () => {
    const previous = torch('/p');
    expect(choose({ previous, python: python() })).toMatchObject({
      kind: 'use',
      source: 'the last build',
      prefix: '/p',
    });
    expect(choose({ previous, python: python(torch('/d')) })).toMatchObject({ prefix: '/d' });
    expect(choose({ previous: torch('/p', { problem: 'does not exist' }), python: python() }).kind).toBe('install');
  });

  it.each<[number, number, boolean]>([
    [2, 10, false],
    [2, 11, true],
    [2, 13, true],
    [2, 14, false],
    [3, 0, false],
  ])('finds version %i.%i supported: %s', (major, minor, supported) => {
    const choice = choose({ libtorch: torch('/a', { version: [major, minor, 0] }) });
    expect(choice.kind).toBe(supported ? 'use' : 'error');
  });

  it('refuses a LIBTORCH that will not do rather than pass over it', () => {
    const choice = choose({ libtorch: torch('/a', { version: [2, 9, 1] }), own: torch('/c') });
    expect(choice).toMatchObject({ kind: 'error' });
    expect(choice.kind === 'error' && choice.message).toMatch(
      /\/a, which is version 2\.9\.1; 2\.11 to 2\.13.*\n.*fix:/,
    );
  });

  it('passes over an unfit .libtorch/ or Python torch, says why, and installs', () => {
    const choice = choose({
      own: torch('/c', { problem: 'its install was not finished' }),
      python: python(torch('/d', { version: [2, 14, 1] })),
    });
    expect(choice).toMatchObject({ kind: 'install', method: 'pip' });
    expect(choice.notes?.[0]).toContain('its install was not finished');
    expect(choice.notes?.[1]).toContain('is version 2.14.1');
  });

  it('installs from LIBTORCH_URL where it is set, unless .libtorch/ came from there', () => {
    const url = 'file:///tmp/libtorch.zip';
    expect(choose({ url, python: python(torch('/d')) })).toMatchObject({ kind: 'install', method: 'archive', url });
    expect(choose({ url, own: torch('/c', { source: 'pip torch==2.13.0' }) })).toMatchObject({ method: 'archive' });
    expect(choose({ url, own: torch('/c', { source: url }) })).toMatchObject({ kind: 'use' });
  });

  it('asks for CUDA in every candidate when FLTAC_CUDA=on', () => {
    expect(choose({ cuda: 'on', own: torch('/c') }).notes?.[0]).toContain('has no CUDA');
    expect(choose({ cuda: 'on', own: torch('/c', { cuda: true }) })).toMatchObject({ kind: 'use', cuda: true });
    expect(choose({ cuda: 'perhaps' })).toMatchObject({ kind: 'error' });
  });

  it.each([
    ['no python3 on PATH', undefined],
    ['python3 has no pip', python(undefined, false)],
  ])('stops with %s and names LIBTORCH, LIBTORCH_URL and the package to install', (lack, facts) => {
    const choice = choose({ python: facts });
    const message = choice.kind === 'error' ? choice.message : '';
    for (const part of [lack, 'LIBTORCH=', 'LIBTORCH_URL=', 'python3-pip']) expect(message).toContain(part);
  });
});

describe('a libtorch folder', () => {
  let root = '';
  const put = (name: string, content: string | Buffer): void => {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  };
  const elf = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  const putTorch = (prefix: string, version = [2, 13, 0]): void => {
    put(`${prefix}/lib/libtorch_cpu.so`, elf);
    put(`${prefix}/lib/libc10.so`, elf);
    put(`${prefix}/include/ATen/ATen.h`, '');
    put(`${prefix}/include/torch/csrc/api/include/torch/torch.h`, '');
    const lines = ['MAJOR', 'MINOR', 'PATCH'].map((part, i) => `#define TORCH_VERSION_${part} ${version[i] ?? 0}\n`);
    put(`${prefix}/include/torch/headeronly/version.h`, lines.join(''));
  };
  const gather = (env: NodeJS.ProcessEnv = {}): LibtorchFacts => gatherLibtorch(root, env, 'linux');

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'fltac-libtorch-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  it('is known by its libraries and headers, and tells its version and whether it has CUDA', () => {
    putTorch('t', [2, 12, 1]);
    expect(inspectPrefix(join(root, 't'), 'linux')).toMatchObject({
      version: [2, 12, 1],
      cuda: false,
      problem: undefined,
    });
    put('t/lib/libtorch_cuda.so', elf);
    expect(inspectPrefix(join(root, 't'), 'linux').cuda).toBe(true);
  });

  it('is refused with the name of what it lacks', () => {
    putTorch('t');
    rmSync(join(root, 't/lib/libc10.so'));
    expect(inspectPrefix(join(root, 't'), 'linux').problem).toBe('has no lib/libc10.so');
    expect(inspectPrefix(join(root, 'absent'), 'linux').problem).toBe('does not exist');
  });

  it('is refused when a library is empty or no library at all', () => {
    putTorch('t');
    put('t/lib/libtorch_cpu.so', '');
    expect(inspectPrefix(join(root, 't'), 'linux').problem).toContain('not a shared library');
  });

  it('is found through LIBTORCH as its prefix and through Torch_DIR as the folder of TorchConfig.cmake', () => {
    putTorch('t');
    expect(gather({ LIBTORCH: join(root, 't') }).libtorch).toMatchObject({ problem: undefined });
    expect(gather({ Torch_DIR: join(root, 't/share/cmake/Torch') }).torchDir).toMatchObject({
      prefix: join(root, 't'),
    });
  });

  it('in .libtorch/ may be put there by the user in any of its usual forms', () => {
    putTorch('.libtorch/libtorch');
    expect(gather().own).toMatchObject({ prefix: join(root, '.libtorch/libtorch'), problem: undefined });
  });

  it('installed by us counts only when its install was finished and is unchanged', () => {
    putTorch('.libtorch/install/torch');
    expect(gather().own?.problem).toBe('its install was not finished');
    const manifest = { source: 'pip', version: '2.13.0', files: { 'torch/lib/libtorch_cpu.so': elf.length } };
    put('.libtorch/install/fltac-install.json', JSON.stringify(manifest));
    expect(gather().own).toMatchObject({ problem: undefined, source: 'pip' });
    put('.libtorch/install/torch/lib/libtorch_cpu.so', Buffer.concat([elf, elf]));
    expect(gather().own?.problem).toContain('has changed');
  });

  it('half made by an interrupted install is not taken for one', () => {
    putTorch('.libtorch/partial-123/torch');
    expect(gather().own).toBeUndefined();
    mkdirSync(join(root, '.libtorch/install'));
    expect(gather().own?.problem).toBe('its install was not finished');
  });
});
