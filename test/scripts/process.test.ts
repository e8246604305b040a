import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { processAlive } from '../../scripts/lib/lock.mjs';
import { run } from '../../scripts/lib/process.mjs';

const MODULE = fileURLToPath(new URL('../../scripts/lib/process.mjs', import.meta.url));

describe('a step of the build', () => {
  it('has its status, and the end of what it printed', async () => {
    expect(await run('sh', ['-c', 'echo said; exit 3'], { quiet: true })).toEqual({ status: 3, tail: 'said\n' });
    expect((await run('no-such-command', [], { quiet: true })).status).toBe(127);
  });

  it('ends with all that it started where the build alone is sent a signal', async () => {
    const step = ['-c', 'sleep 60 & echo $!; wait'];
    const program = `import { run } from ${JSON.stringify(MODULE)}; await run('sh', ${JSON.stringify(step)});`;
    const build = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise((resolve) => build.on('close', (_, signal) => resolve(signal)));
    const started = Number(await new Promise<Buffer>((resolve) => build.stdout.once('data', resolve)));
    expect(processAlive(started)).toBe(true);
    build.kill('SIGTERM');
    expect(await ended).toBe('SIGTERM');
    await vi.waitFor(() => expect(processAlive(started)).toBe(false), 5_000);
  });
});
