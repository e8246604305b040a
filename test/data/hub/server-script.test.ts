import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { withSnapshot } from '../../../src/data/hub/snapshot.js';
import type { HubServer } from '../../support/hub-server.js';
import { folderOf, keptLog, settingsFor } from '../../support/hub.js';

const SCRIPT = fileURLToPath(new URL('../../../scripts/hub-server.mjs', import.meta.url));

describe('scripts/hub-server.mjs', () => {
  it('serves roots and mounts, prints the value for HF_ENDPOINT, and ends at SIGTERM', async () => {
    const root = folderOf({ 'datasets/made-up/rows/a.txt': 'a' });
    const mounted = folderOf({ 'config.json': '{}' });
    const mount = `models/made-up/model=${mounted}`;
    const child = spawn(process.execPath, [SCRIPT, '--root', root, '--mount', mount], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const url = /^HF_ENDPOINT=(http:\/\/127\.0\.0\.1:\d+)$/.exec(line)?.[1];
    expect(url, line).toBeDefined();
    const settings = settingsFor({ url } as HubServer);
    const context = { log: keptLog() };
    const list = (type: 'model' | 'dataset', id: string) =>
      withSnapshot({ type, id }, 'main', settings, context, (snapshot) => snapshot.list());
    expect(await list('dataset', 'made-up/rows')).toEqual(['a.txt']);
    expect(await list('model', 'made-up/model')).toEqual(['config.json']);
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
  });

  it.each([
    [[], /at least one --root or --mount is needed/],
    [['--root', '/nowhere'], /\/nowhere: no such folder/],
    [['--root', '.', '--port', 'x'], /--port wants a number/],
    [['--mount', 'x=y'], /--mount wants models\/ORG\/NAME=DIR/],
    [['--verbose'], /Unknown option '--verbose'/],
  ])('refuses %j with exit code 2', (options, message) => {
    const { status, stderr } = spawnSync(process.execPath, [SCRIPT, ...options], { encoding: 'utf8' });
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});
