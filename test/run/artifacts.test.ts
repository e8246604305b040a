import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { adapterLayout } from '../../src/engine/index.js';
import { writePeftDirectory } from '../../src/run/artifacts.js';
import { fakeFace } from '../support/fake-engine.js';
import { temporaryFolder } from '../support/files.js';
import { changedConfig, SPEC } from '../support/models.js';

it.each([
  ['distilbert', 'q_lin', 'tokens', 'SEQ_CLS', ['classifier', 'score', 'pre_classifier']],
  ['roberta', 'query', 'tokens', 'SEQ_CLS', ['classifier', 'score']],
  // PEFT has no task type for images, and loads a head of theirs without one.
  ['vit', 'query', 'images', null, ['classifier']],
] as const)(
  'an adapter directory of %s names every module that is trained whole',
  async (family, target, input, task, modules) => {
    const folder = path.join(temporaryFolder(), 'adapter');
    const spec = { ...SPEC, targetModules: [target], trainHead: true };
    const layout = adapterLayout(changedConfig(family, {}), spec);
    const flat = new Float32Array(layout.size);
    const base = { id: 'org/model', revision: 'abc' };
    await writePeftDirectory(fakeFace(), folder, { layout, flat, spec, base, kind: { input, output: 'classes' } });
    const config = JSON.parse(await readFile(path.join(folder, 'adapter_config.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect([config['task_type'], config['modules_to_save']]).toEqual([task, modules]);
  },
);
