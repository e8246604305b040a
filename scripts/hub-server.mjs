// Serves local folders as the Hugging Face Hub would, so that downloads can be run without the network:
//   node scripts/hub-server.mjs --root DIR [--root DIR2] [--mount models/ORG/NAME=DIR] [--port N] [--cdn]
//   HF_ENDPOINT=http://127.0.0.1:N npx fltac train --config configs/glue_bert.yaml
// DIR is laid out as models/<org>/<name>/... and datasets/<org>/<name>/...
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startHubServer } from './hub-server/server.mjs';

const USAGE =
  'usage: node scripts/hub-server.mjs --root DIR [--root DIR2] [--mount models/ORG/NAME=DIR] [--host H] [--port N] [--cdn]';

function fail(message) {
  console.error(`${message}\n${USAGE}`);
  process.exit(2);
}

function parseMounts(values) {
  const mounts = {};
  for (const value of values) {
    const match = /^((?:models|datasets)\/[^/=]+(?:\/[^/=]+)?)=(.+)$/.exec(value);
    if (!match) fail(`--mount wants models/ORG/NAME=DIR or datasets/ORG/NAME=DIR, found ${value}`);
    mounts[match[1]] = resolve(match[2]);
  }
  return mounts;
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        root: { type: 'string', multiple: true, default: [] },
        mount: { type: 'string', multiple: true, default: [] },
        host: { type: 'string', default: '127.0.0.1' },
        port: { type: 'string', default: '0' },
        cdn: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return fail(error.message);
  }
}

const values = readOptions();
const roots = values.root.map((root) => resolve(root));
const mounts = parseMounts(values.mount);
if (roots.length === 0 && Object.keys(mounts).length === 0) fail('at least one --root or --mount is needed');
for (const folder of [...roots, ...Object.values(mounts)]) if (!existsSync(folder)) fail(`${folder}: no such folder`);

const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65535)
  fail(`--port wants a number up to 65535, found ${values.port}`);
const server = await startHubServer({ roots, mounts, host: values.host, port, cdn: values.cdn });
console.log(`HF_ENDPOINT=${server.url}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.close().then(() => process.exit(0)));
