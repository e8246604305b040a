import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { interruptible } from '../../src/cli/interrupt.js';
import { silentLog } from '../../src/run/log.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Runs the built command as a process. `reads`: whether anyone reads its stdout. */
async function fltac(
  argv: string[],
  { reads = true } = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  if (reads) child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  else child.stdout.destroy();
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out, err };
}

describe('the built command', () => {
  beforeAll(() => {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: run npm run build:ts first`);
  });

  it('prints its version', async () => {
    const { code, out, err } = await fltac(['--version']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('exits with 2 for wrong usage', async () => {
    const { code, out, err } = await fltac(['train', '--lr', 'fast']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^fltac: --lr: expected a number above 0, found the text "fast"\n/);
  });

  it('ends quietly when nobody reads its output', async () => {
    const { code, err } = await fltac(['partition', '--scenario', 'glue'], { reads: false });
    expect({ code, err }).toEqual({ code: 0, err: '' });
  });
});

describe('interruptible', () => {
  it('aborts at the first SIGINT and exits with 130 at the second', async () => {
    const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
    const listeners = process.listenerCount('SIGINT');
    const aborted = interruptible(silentLog(), (signal) => {
      process.emit('SIGINT');
      expect(signal.aborted).toBe(true);
      expect(exit).not.toHaveBeenCalled();
      process.emit('SIGINT');
      return Promise.resolve('ended');
    });
    expect(await aborted).toBe('ended');
    expect(exit).toHaveBeenCalledExactlyOnceWith(130);
    expect(process.listenerCount('SIGINT')).toBe(listeners);
    exit.mockRestore();
  });

  it('leaves signals alone once the work has failed', async () => {
    const listeners = process.listenerCount('SIGTERM');
    await expect(interruptible(silentLog(), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(process.listenerCount('SIGTERM')).toBe(listeners);
  });
});
