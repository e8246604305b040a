/** What tests of the Hub need: a small repository of made-up files, settings without waits, a log that keeps its lines. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { hubSettings, type HubSettings } from '../../src/data/hub/settings.js';
import type { Log } from '../../src/run/log.js';
import { temporaryFolder } from './files.js';
import { startHubServer, type HubServer, type HubServerOptions } from './hub-server.js';

/** Writes files below a new folder; returns the folder. */
export function folderOf(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** A Hub over these files ("models/org/name/file" to content), closed when the running test ends. */
export async function hubOf(
  files: Readonly<Record<string, string | Buffer>>,
  options: Partial<HubServerOptions> = {},
): Promise<HubServer> {
  const server = await startHubServer({ roots: [folderOf(files)], ...options });
  onTestFinished(() => server.close());
  return server;
}

/** Settings for a server and a new cache; waits are a few milliseconds. */
export function settingsFor(server: HubServer, env: NodeJS.ProcessEnv = {}, cacheDir = temporaryFolder()): HubSettings {
  return {
    ...hubSettings(cacheDir, { HF_ENDPOINT: server.url, ...env }),
    retry: { attempts: 3, baseDelayMs: 5, maxDelayMs: 20, longestWaitMs: 5_000 },
    // Never met on a busy machine; tests of silence take IMPATIENT.
    timeouts: { connectMs: 20_000, headersMs: 20_000, bodyMs: 20_000 },
  };
}

/** Timeouts for servers that are to be silent. */
export const IMPATIENT: HubSettings['timeouts'] = { connectMs: 2_000, headersMs: 1_000, bodyMs: 500 };

export interface KeptLog extends Log {
  /** "info: …", "warn: …", "start: …", "done: …" */
  lines: string[];
  /** steps reported of each progress bar */
  steps: number[];
}

export function keptLog(): KeptLog {
  const lines: string[] = [];
  const steps: number[] = [];
  return {
    lines,
    steps,
    info: (message) => void lines.push(`info: ${message}`),
    warn: (message) => void lines.push(`warn: ${message}`),
    progress: (title, total) => {
      lines.push(`start: ${title} ${total}`);
      return { update: (done) => void steps.push(done), done: (note) => void lines.push(`done: ${note ?? ''}`) };
    },
  };
}

/** Content that does not compress or repeat. */
export function randomContent(size: number): Buffer {
  return randomBytes(size);
}

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

/** git's hash of a file: what the Hub names small files by. */
export function gitHash(content: Buffer | string): string {
  return createHash('sha1')
    .update(`blob ${Buffer.byteLength(content)}\0`)
    .update(content)
    .digest('hex');
}

/** Lets a server listen on a free port until the test ends. @returns its address */
export async function listenOn(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
