import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { keyRow } from '../../src/config/schema.js';
import { run } from './support.js';

const haveBash = spawnSync('bash', ['--version']).status === 0;

/** What bash offers when the last word is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const { stdout: script } = await run('completion', 'bash');
  const typed = words.map((word) => `'${word}'`).join(' ');
  const program = `${script}\nCOMP_WORDS=(${typed}); COMP_CWORD=${words.length - 1}; _fltac; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', program], { encoding: 'utf8' }).trim().split('\n');
}

describe.skipIf(!haveBash)('completion in bash', () => {
  it('offers commands, and below a command its own', async () => {
    expect(await offered('fltac', 'pa')).toEqual(['partition', 'params']);
    expect(await offered('fltac', 'bench', 'k')).toEqual(['kmeans']);
  });

  it("offers a command's flags and the values of a flag that has a list of them", async () => {
    expect(await offered('fltac', 'train', '--lora-d')).toEqual(['--lora-dropout']);
    expect(await offered('fltac', 'doctor', '--format', '')).toEqual(['text', 'json']);
    expect(await offered('fltac', 'bench', 'kmeans', '--device', '')).toEqual(['cpu', 'cuda']);
    expect(await offered('fltac', 'bench', 'train', '--shape', 'bert')).toEqual(['bert-base', 'bert-large']);
  });

  it('offers the values that a flag has in its own command', async () => {
    expect(await offered('fltac', 'report', '--format', '')).toEqual(['svg', 'png']);
    expect(await offered('fltac', 'compare', '--format', '')).toEqual(['text', 'markdown', 'csv', 'json']);
    expect(await offered('fltac', 'compare', '--format', '=', 'm')).toEqual(['markdown']);
  });

  it('offers the words of configuration keys, and the keys to --override', async () => {
    expect(await offered('fltac', 'train', '--scenario', '')).toEqual([...keyRow('scenario').kind.words!]);
    expect(await offered('fltac', 'train', '--method', 'f')).toEqual(
      keyRow('method').kind.words!.filter((word) => word.startsWith('f')),
    );
    expect(await offered('fltac', 'train', '--override', 'kmeans_n')).toEqual(['kmeans_n_init=']);
  });

  it('offers nothing where only a person knows the value', async () => {
    expect(await offered('fltac', 'train', '--rounds', '')).toEqual(['']);
  });

  it('offers files and folders for those, and the words of an argument that has a list of them', async () => {
    const here = readdirSync('.').sort();
    for (const words of [
      ['verify', ''],
      ['judge', ''],
      ['train', '--config', ''],
      ['train', '--resume', ''],
    ])
      expect((await offered('fltac', ...words)).sort()).toEqual(here);
    expect(await offered('fltac', 'train', '--resume', '--lora-d')).toEqual(['--lora-dropout']);
    expect(await offered('fltac', 'verify', '--ev')).toEqual(['--evaluate']);
    expect(await offered('fltac', 'completion', '')).toEqual(['bash', 'zsh', 'fish']);
  });
});

describe('completion', () => {
  it.each(['zsh', 'fish'])('of %s names every command and its flags', async (shell) => {
    const { code, stdout } = await run('completion', shell);
    expect(code).toBe(0);
    for (const word of ['train', 'evaluate', 'partition', 'n-clients']) expect(stdout).toContain(word);
  });

  it('of another shell is refused with those there are', async () => {
    const { code, stderr } = await run('completion', 'csh');
    expect(code).toBe(2);
    expect(stderr).toMatch(/Allowed choices are bash, zsh, fish/);
  });
});
