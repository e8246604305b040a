/** Which product in bfloat16 a CPU has is part of the record of a run that uses it, and of what makes two evaluations equal. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { trainRun } from '../../src/run/train.js';
import { verifyRun } from '../../src/run/verify/index.js';
import { fakeConfig, fakeRun, type FakeRun, type Row } from './support.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'fltac-bfloat16-'));
});
afterEach(() => rm(folder, { recursive: true }));

type Dtype = 'float32' | 'bfloat16';
/** What the engine says of its product in bfloat16; versions before said nothing. */
type Product = 'packed' | 'onednn' | 'absent' | undefined;

function runWith(dtype: Dtype, product: Product, changes: Partial<FakeRun['context']> = {}): FakeRun {
  const run = fakeRun(changes);
  Object.assign(run.engine, { info: { ...run.engine.info, dtype } });
  run.context.parts!.face.environment = () => ({ libtorch: 'fake', ...(product && { bfloat16: product }) });
  return run;
}

const config = (rounds = 1) => fakeConfig(folder, { loraRank: 1, targetModules: ['query'], rounds, evalEvery: 1 });

async function engineRecord(): Promise<unknown> {
  return (JSON.parse(await readFile(path.join(folder, 'environment.json'), 'utf8')) as Row)['engine'];
}

describe('the product in bfloat16', () => {
  it('is recorded where weights are held in bfloat16', async () => {
    await trainRun(config(), runWith('bfloat16', 'onednn').context);
    expect(await engineRecord()).toEqual({ libtorch: 'fake', bfloat16: 'onednn' });
  });

  it('is not recorded of a float32 run, which does not depend on it', async () => {
    await trainRun(config(), runWith('float32', 'onednn').context);
    expect(await engineRecord()).toEqual({ libtorch: 'fake' });
  });

  const EQUAL = 'equal in every digit';
  const ROUNDED = 'equal but for rounding';
  it.each<{ dtype: Dtype; made: Product; now: Product; how: string }>([
    { dtype: 'bfloat16', made: 'packed', now: 'packed', how: EQUAL },
    { dtype: 'bfloat16', made: 'packed', now: 'onednn', how: ROUNDED },
    { dtype: 'bfloat16', made: 'onednn', now: 'absent', how: ROUNDED },
    { dtype: 'bfloat16', made: undefined, now: 'packed', how: ROUNDED },
    { dtype: 'float32', made: 'packed', now: 'onednn', how: EQUAL },
    { dtype: 'float32', made: undefined, now: 'onednn', how: EQUAL },
  ])('$made when a $dtype run was made and $now when it is verified: $how', async ({ dtype, made, now, how }) => {
    await trainRun(config(), runWith(dtype, made).context);
    const { passed, findings } = await verifyRun({ folder, evaluate: true }, runWith(dtype, now).context);
    expect(passed).toBe(true);
    const { detail } = findings.find(({ check }) => check === 'metrics, evaluated anew')!;
    expect(detail).toContain(how);
  });

  it.each<{ dtype: Dtype; told: boolean }>([
    { dtype: 'bfloat16', told: true },
    { dtype: 'float32', told: false },
  ])('that is another when a $dtype run goes on is told: $told', async ({ dtype, told }) => {
    await trainRun(config(1), runWith(dtype, 'packed').context);
    const run = runWith(dtype, 'onednn', { resume: true });
    await trainRun(config(2), run.context);
    expect(run.lines.join('\n').includes('bfloat16 was "packed", is "onednn"')).toBe(told);
    const { findings } = await verifyRun({ folder, evaluate: true }, runWith(dtype, 'onednn').context);
    const { detail } = findings.find(({ check }) => check === 'metrics, evaluated anew')!;
    expect(detail).toContain(told ? ROUNDED : EQUAL);
  });
});
