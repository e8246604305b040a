import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/index.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const names = (readdirSync(join(root, 'configs'), { recursive: true }) as string[])
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => join('configs', name));

describe('the configuration files', () => {
  it('are there', () => {
    expect(names.length).toBeGreaterThan(0);
  });

  it.each(names)('%s is read without a fault or a warning, and its head names its command', (name) => {
    const path = join(root, name);
    const { config, warnings } = loadConfig({ file: path, env: {} });
    expect(warnings).toEqual([]);
    const head = readFileSync(path, 'utf8').split('\n\n')[0]!;
    expect(head).toContain(`npx fltac train --config ${relative(root, path)}`);
    expect(config.method).toBe(name.endsWith('_fedit.yaml') ? 'fedit' : 'fltac');
  });

  it.each([
    ['configs/paper/glue_fltac.yaml', { loraRank: 1, trainHead: true }],
    ['configs/paper/glue_fedit.yaml', { loraRank: 16, trainHead: true }],
    ['configs/paper/cifar_fltac.yaml', { loraRank: 1, trainHead: false }],
    ['configs/paper/cifar_fedit.yaml', { loraRank: 8, trainHead: false }],
    ['configs/paper/dolly_fltac.yaml', { loraRank: 1 }],
    ['configs/paper/dolly_fedit.yaml', { loraRank: 16 }],
  ])("%s has the paper's rank", (name, expected) => {
    expect(loadConfig({ file: join(root, name), env: {} }).config).toMatchObject(expected);
  });

  it.each([
    ['glue', 'configs/glue_bert.yaml'],
    ['cifar', 'configs/cifar_vit.yaml'],
    ['dolly', 'configs/dolly_llama.yaml'],
  ])("say of %s what the scenario's defaults say", (scenario, name) => {
    const { config } = loadConfig({ file: join(root, name), env: {} });
    expect(config).toEqual(loadConfig({ flags: { scenario }, env: {} }).config);
  });
});
