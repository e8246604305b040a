// Faults of the network and of the Hub, by a local server that misbehaves on demand (scripts/hub-server).
import { mkdirSync } from 'node:fs';
import { startHubServer } from '../hub-server/server.mjs';

const SET = 'made-up/set';

/** A custom task of a local table. */
export const CUSTOM =
  'scenario: custom\ndata:\n  mood:\n    train: rows.csv\n    validation: 0.5\n    text: text\n    label: label\n';

const HUB_TASK = CUSTOM.replace('train:', `hub: ${SET}\n    train:`);

/** Larger than a piece of the network, so that it can be cut. */
const longTable = (csv) => csv + 'a text that is long enough,good\n'.repeat(8_000);

/**
 * @param csv the sound table
 */
export function hubRows(csv) {
  /** A row whose server has `faults`; with `options` of the server and `env` of the command. */
  const row = (fault, exit, message, faults, { env = {}, options = {}, arrange } = {}) => ({
    fault,
    exit,
    message,
    arrange: async (room) => {
      room.write(`hub/datasets/${SET}/rows.csv`, longTable(csv));
      const server = await startHubServer({ roots: [room.path('hub')], ...options });
      server.faults.push(...faults);
      mkdirSync(room.path('cache'));
      const more = (await arrange?.(room, server)) ?? {};
      if (more === null) return null;
      room.write('settings.yaml', `${HUB_TASK}cache_dir: cache\n`);
      room.settle();
      return {
        argv: ['partition', '--config', 'settings.yaml'],
        env: { HF_ENDPOINT: server.url, HF_HUB_DOWNLOAD_TIMEOUT: '1', ...env, ...more },
        close: () => server.close(),
      };
    },
  });
  const content = /\/resolve\//;
  const always = 99;
  return [
    row('connection refused', 1, /cannot be reached .*ECONNREFUSED.*: check the network/, [], {
      arrange: (_, server) => server.close(),
    }),
    row('a host that does not exist', 1, /cannot be reached .*(ENOTFOUND|EAI_AGAIN)/, [], {
      env: { HF_ENDPOINT: 'http://no-such-host.invalid' },
    }),
    row('download cut once', 0, /trying again/, [{ match: content, truncateAt: 100_000 }]),
    row('download cut every time, nothing new', 1, /(in every try|cannot be reached)/, [
      { match: content, truncateAt: 0, times: always },
    ]),
    row('silence in the middle of a download', 1, /UND_ERR_BODY_TIMEOUT|[Bb]ody [Tt]imeout/, [
      { match: content, truncateAt: 50_000, hang: true },
      { match: content, truncateAt: 0, hang: true, times: always },
    ]),
    row('no answer at all', 1, /UND_ERR_HEADERS_TIMEOUT|[Hh]eaders [Tt]imeout/, [{ delayMs: 60_000, times: always }]),
    row('a byte now and then (slow loris)', 1, /comes at less than 1024 bytes a second/, [
      { match: content, chunkBytes: 16, chunkDelayMs: 200, times: always },
    ]),
    row('other content than its hash', 1, /arrived with hash .*: the server or a proxy alters it; nothing was kept/, [
      { match: content, corrupt: true, times: always },
    ]),
    row('a content-length that is too long (what came has the right hash)', 0, /trying again/, [
      { match: content, sayLength: 10_000_000, times: always },
    ]),
    row('another etag', 0, /mood/, [{ match: content, etag: '"another"', times: always }]),
    row('401 without a token', 1, /has no public dataset made-up\/set \(401\): check the name, or set HF_TOKEN/, [
      { status: 401, code: 'RepoNotFound', times: always },
    ]),
    row('401 with a token', 1, /refuses the HF_TOKEN given \(401\)/, [{ status: 401, times: always }], {
      env: { HF_TOKEN: 'hf_secret' },
    }),
    row('403, gated', 1, /is gated \(403\): accept its licence at/, [
      { status: 403, code: 'GatedRepo', times: always },
    ]),
    row('404', 1, /404/, [{ status: 404, code: 'RepoNotFound', times: always }]),
    row('429 with Retry-After: 1, once', 0, /answered 429 .*trying again in 1\.0 s/, [
      { status: 429, headers: { 'retry-after': '1' } },
    ]),
    row('429 with Retry-After: 3600', 1, /asks for fewer requests \(429\)/, [
      { status: 429, headers: { 'retry-after': '3600' }, times: always },
    ]),
    row('503 every time', 1, /fails to answer \(503\).*try again later/, [{ status: 503, times: always }]),
    row('redirect to another host, with a token (it is not sent there)', 0, /mood/, [], {
      env: { HF_TOKEN: 'hf_secret' },
      options: { cdn: true },
    }),
    row('redirect to a local file', 1, /redirects .* to something that is not a web address/, [
      { status: 302, headers: { location: 'file:///etc/passwd' }, times: always },
    ]),
    row(
      'a file list that climbs out of the cache',
      1,
      /"\.\.\/\.\.\/\.\.\/x", which would lie outside the cache: refused/,
      [{ match: /\/tree\//, entries: [{ type: 'file', path: '../../../x', size: 1, oid: 'a'.repeat(40) }] }],
    ),
    row(
      'cache on a full disk (tmpfs of 64 kB)',
      1,
      /cannot write .*ENOSPC.*: make room or choose another cache_dir/,
      [],
      {
        arrange: (room) => (room.mount('cache', '64k') ? {} : null),
      },
    ),
  ];
}
