import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { haveShared, sharedPath } from '../support/shared.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const programs = join(root, 'build', 'native-tests');
const names = readdirSync(join(root, 'test', 'native'))
  .filter((name) => name.endsWith('.cc'))
  .map((name) => basename(name, '.cc'));
// A *_golden_test compares with reference values outside the repository and is told by FLTAC_SHARED where they are.
const needsShared = (name: string): boolean => name.endsWith('_golden_test');
const env = haveShared ? { ...process.env, FLTAC_SHARED: sharedPath('') } : process.env;

interface Outcome {
  code: number;
  output: string;
}

async function runProgram(path: string): Promise<Outcome> {
  try {
    const { stdout, stderr } = await promisify(execFile)(path, { timeout: 110_000, env });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, signal, stdout, stderr } = error as NodeJS.ErrnoException & Record<string, string | undefined>;
    return { code: Number(code ?? 1), output: `${stdout ?? ''}${stderr ?? ''}${signal ? `\n(${signal})` : ''}` };
  }
}

describe('the native tests', () => {
  it('exist', () => {
    expect(names).not.toEqual([]);
  });

  for (const name of names) {
    it.skipIf(needsShared(name) && !haveShared)(`${name} passes`, async () => {
      const path = join(programs, name);
      expect(existsSync(path), `${path} is not built: npm run build:native -- --tests`).toBe(true);
      const { code, output } = await runProgram(path);
      expect(code, output).toBe(0);
    });
  }
});
