import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
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
