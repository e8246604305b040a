import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HubRepo } from '../../src/data/hub/names.js';
import { hubSettings, type HubSettings } from '../../src/data/hub/settings.js';
import { withSnapshot } from '../../src/data/hub/snapshot.js';
import { gitHash, keptLog, sha256 } from '../support/hub.js';
import { damageBytes, type Draws } from './draws.js';
import { LONG, fuzz } from './fuzz.js';
import { JSON_TOKENS, ODD_JSON, damageTokens } from './tokens.js';

const REPO: HubRepo = { type: 'model', id: 'made-up/model' };
const COMMIT = 'c'.repeat(40);
const CONFIG = '{"model_type": "bert"}\n';
const WEIGHTS = 'weights '.repeat(40);
const FILES: Readonly<Record<string, string>> = { 'config.json': CONFIG, 'deep/model.safetensors': WEIGHTS };

/** The answers of a sound conversation: head and body. */
type Kind = 'info' | 'tree' | 'content';
interface Answer {
  head: string;
  body: string;
}

function soundAnswer(kind: Kind, path: string): Answer {
  const json = (value: unknown): Answer => {
    const body = JSON.stringify(value);
    return { head: `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`, body };
  };
  if (kind === 'info') {
    return json({ _id: '1', id: REPO.id, sha: COMMIT, private: false, gated: false, downloads: 0, likes: 0 });
  }
  if (kind === 'tree') {
    return json([
      { type: 'directory', oid: 'd'.repeat(40), size: 0, path: 'deep' },
      { type: 'file', oid: gitHash(CONFIG), size: CONFIG.length, path: 'config.json' },
      {
        type: 'file',
        oid: 'e'.repeat(40),
        size: WEIGHTS.length,
        path: 'deep/model.safetensors',
        lfs: { oid: sha256(WEIGHTS), size: WEIGHTS.length, pointerSize: 130 },
      },
    ]);
  }
  const name = Object.keys(FILES).find((file) => path.endsWith(file)) ?? 'config.json';
  const body = FILES[name]!;
  return { head: `HTTP/1.1 200 OK\r\netag: "${sha256(body)}"\r\ncontent-length: ${body.length}`, body };
}

const ODD_HEADS = [
  ...[
    '\r\nlocation: /x',
    '\r\nlocation: file:///etc/passwd',
    '\r\nlocation: //other',
    '302',
    '307',
    '206',
    '204',
    '304',
  ],
  ...['401', '403', '404', '416', '429', '500', '503', '999', '\r\nretry-after: 0', '\r\nretry-after: -1'],
  ...[
    '\r\ntransfer-encoding: chunked',
    '\r\ncontent-encoding: gzip',
    '\r\ncontent-range: bytes 5-9/10',
    'HTTP/9.9',
    '\0',
  ],
  ...[
    '\r\nlink: <http://127.0.0.1:1/x>; rel="next"',
    '\r\nlink: </x>; rel="next"',
    '\r\nlink: <>; rel="next"',
    '\r\nx: y',
  ],
  ...['\r\ncontent-length: -1', '\r\ncontent-length: 18446744073709551616', '\r\nx-error-code: GatedRepo', '\r\n\r\n'],
];
const ODD_BODIES = [
  ...ODD_JSON,
  ...['"../../../x"', '"..\\\\x"', '"C:/x"', '"deep/../../x"', '"/x"', '"a/./b"', '"."', '"blobs"', '"type"', '"file"'],
  ...[
    '"path"',
    '"size"',
    '"oid"',
    '"lfs"',
    '"sha"',
    `"${'f'.repeat(40)}"`,
    `"${'F'.repeat(40)}"`,
    '"config.json"',
    '1e21',
  ],
];

/** What one input does: damages the answers of one kind, in their head or their body. */
interface Plan {
  kind: Kind;
  damage: (answer: Answer) => Buffer;
}

function makePlan(draws: Draws): Plan {
  const kind = draws.of(['info', 'tree', 'tree', 'content'] as const);
  const inHead = draws.oneIn(3);
  const damage = ({ head, body }: Answer): Buffer => {
    let text = body;
    if (!inHead)
      text = kind === 'content' ? damageBytes(draws, Buffer.from(body)).toString('latin1') : bodyOf(draws, body);
    // A body that arrives whole, so that what is damaged is what is read; now and then as long as the head says.
    const fitted = draws.oneIn(5)
      ? head
      : head.replace(/content-length: \d+/, `content-length: ${Buffer.byteLength(text)}`);
    const start = inHead ? damageTokens(draws, fitted, /\r\n|[\w.-]+|[^\w\r\n]/g, ODD_HEADS) : fitted;
    return Buffer.from(`${start}\r\nconnection: close\r\n\r\n${text}`);
  };
  return { kind, damage };
}

function bodyOf(draws: Draws, body: string): string {
  return damageTokens(draws, body, JSON_TOKENS, ODD_BODIES);
}

let plan: Plan | undefined;
let server: Server;
let settings: HubSettings;
let room: string;

beforeAll(async () => {
  server = createServer((socket) => {
    let request = '';
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      request += bytes.toString('latin1');
      if (!request.includes('\r\n\r\n')) return;
      const path = request.split(' ')[1] ?? '';
      const kind = path.includes('/tree/') ? 'tree' : path.includes('/resolve/') ? 'content' : 'info';
      const answer = soundAnswer(kind, path);
      const sound = `${answer.head}\r\nconnection: close\r\n\r\n${answer.body}`;
      socket.end(plan?.kind === kind ? plan.damage(answer) : sound);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  // Folders above the cache, to see what climbs out of it.
  room = mkdtempSync(join(tmpdir(), 'fltac-fuzz-hub-'));
  settings = {
    ...hubSettings(join(room, 'a', 'b', 'cache'), { HF_ENDPOINT: `http://127.0.0.1:${address.port}` }),
    retry: { attempts: 1, baseDelayMs: 0, maxDelayMs: 0, longestWaitMs: 10 },
    timeouts: { connectMs: 5_000, headersMs: 5_000, bodyMs: 5_000 },
  };
});
afterAll(async () => {
  await new Promise<void>((resolve) => void server.close(() => resolve()));
  rmSync(room, { recursive: true, force: true });
});

function hashOf(content: Buffer, like: string): string {
  if (like.length === 64) return sha256(content);
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

/** Everything lies in the cache, and what has a final name has the content of that name. */
function checkCache(): void {
  expect(readdirSync(room)).toEqual(['a']);
  expect(readdirSync(join(room, 'a'))).toEqual(['b']);
  expect(readdirSync(dirname(settings.cacheDir))).toEqual(['cache']);
  const blobs = join(settings.cacheDir, 'models--made-up--model', 'blobs');
  if (!existsSync(blobs)) return;
  const names = readdirSync(blobs).filter((name) => !name.endsWith('.incomplete'));
  for (const name of names) expect(hashOf(readFileSync(join(blobs, name)), name)).toBe(name);
}

describe('damaged answers of a Hub', () => {
  it(
    'end in a verified download or in one error, within the cache',
    async () => {
      const damage = (draws: Draws): Plan => makePlan(draws);
      const read = async (next: Plan): Promise<void> => {
        plan = next;
        mkdirSync(settings.cacheDir, { recursive: true });
        try {
          await withSnapshot(REPO, 'main', settings, { log: keptLog() }, async (snapshot) => {
            await snapshot.fetch((await snapshot.list()).slice(0, 20));
            await snapshot.remember();
          });
        } finally {
          checkCache();
          rmSync(settings.cacheDir, { recursive: true, force: true });
        }
      };
      await fuzz({ name: 'Hub answers', damage, read, codes: ['NETWORK', 'IO'] });
    },
    LONG,
  );
});
