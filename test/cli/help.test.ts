import { describe, expect, it } from 'vitest';
import { defaultText } from '../../src/config/docs.js';
import { CONFIG_KEYS, keyRow } from '../../src/config/schema.js';
import { run } from './support.js';

/** Text without line breaks and indents, so that wrapping does not matter. */
const flat = (text: string) => text.replace(/\s+/g, ' ');

const COMMANDS = [
  ['train'],
  ['compare'],
  ['evaluate'],
  ['generate'],
  ['judge'],
  ['partition'],
  ['params'],
  ['doctor'],
  ['bench', 'kmeans'],
  ['bench', 'train'],
];

describe('help', () => {
  it.each(COMMANDS)('of %s %s goes to stdout with examples to run, and exit code 0', async (...command) => {
    const { code, stdout, stderr } = await run(...command, '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`Examples:\n  fltac ${command.join(' ')}`));
  });

  it('of train lists every flag with its default, and every other key with its own', async () => {
    const text = flat((await run('train', '--help')).stdout);
    for (const key of CONFIG_KEYS) {
      const shown = keyRow(key).flag ? `--${key.replaceAll('_', '-')} <` : ` ${key} (default:`;
      expect(text).toContain(shown);
      const after = text.slice(text.indexOf(shown));
      expect(after.slice(0, 600)).toContain(`(default: ${defaultText(key)})`);
    }
  });

  it('has the named flags of the contract', async () => {
    const text = flat((await run('train', '--help')).stdout);
    const named =
      'scenario model_name method n_clients dirichlet_alpha min_frac rounds local_steps lora_rank lora_alpha lora_dropout ' +
      'lr batch_size max_len eval_every max_eval_batches seed output_dir cache_dir device dtype config override overwrite';
    for (const name of named.split(' ')) expect(text).toContain(`--${name.replaceAll('_', '-')} `);
  });

  it('of a command comes by its name too, and of one that there is not names the one that was meant', async () => {
    expect(await run('help', 'bench', 'kmeans')).toEqual(await run('bench', 'kmeans', '--help'));
    expect(await run('help')).toEqual(await run('--help'));
    for (const words of [
      ['help', 'trian'],
      ['help', 'bench', 'trian'],
      ['bench', 'help', 'trian'],
    ]) {
      const { code, stdout, stderr } = await run(...words);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(/^fltac: unknown command 'trian'; did you mean train\?/);
    }
  });

  it.each([
    ['bench train', 'max_len,longest'],
    ['study rank', '1,2,4,8,16'],
  ])('of %s shows lists that are defaults as they would be typed', async (command, list) => {
    expect(flat((await run(...command.split(' '), '--help')).stdout)).toContain(`default: ${list})`);
  });

  it('of params tells that it needs the compiled engine', async () => {
    expect(flat((await run('params', '--help')).stdout)).toContain('which the compiled engine derives from its');
  });

  it('comes on stderr with exit code 2 where no command is given', async () => {
    const { code, stdout, stderr } = await run();
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Usage: fltac');
  });

  it('has no colours', async () => {
    const { stdout } = await run('train', '--help');
    expect(stdout).not.toContain('\u001b');
  });
});
