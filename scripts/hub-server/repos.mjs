// What the test Hub serves: folders on disk seen as Hub repositories, with the hashes the Hub would give their files.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** File endings that the Hub keeps in LFS: their etag is a sha256, the others' the git blob's sha1. */
const LFS_FILE = /\.(safetensors|parquet|bin|h5|onnx|msgpack)$/;

/** Digest of a file, read as a stream; `head` is hashed before it. */
async function digest(algorithm, path, head = '') {
  const hash = createHash(algorithm).update(head);
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** Describes one file as the Hub's listing does; answers are kept until size or time of the file change. */
const described = new Map();
async function describeFile(path, name) {
  const { size, mtimeMs } = statSync(path);
  const key = `${path}\0${size}\0${mtimeMs}`;
  let entry = described.get(key);
  if (!entry) {
    const sha1 = await digest('sha1', path, `blob ${size}\0`);
    const lfs = LFS_FILE.test(name) ? { oid: await digest('sha256', path), size, pointerSize: 134 } : undefined;
    entry = { type: 'file', oid: sha1, size, ...(lfs && { lfs }) };
    described.set(key, entry);
  }
  return { ...entry, path: name };
}

/** Names of all files below `folder`, sorted, with `/` between the parts. */
function fileNames(folder, prefix = '') {
  const names = [];
  for (const entry of readdirSync(join(folder, prefix), { withFileTypes: true })) {
    const name = prefix ? `${prefix}/${entry.name}` : entry.name;
    const isFolder = statSync(join(folder, name)).isDirectory();
    if (isFolder) names.push(...fileNames(folder, name));
    else names.push(name);
  }
  return names.sort();
}

/** The repositories under the roots; `mounts` maps "models/org/name" to a folder of its own and goes first. */
export class Repositories {
  constructor(roots, mounts) {
    this.roots = roots;
    this.mounts = mounts;
  }

  /** Folder of the repository `kind`/`id` ("models"|"datasets", "org/name"), or undefined. */
  folder(kind, id) {
    const mounted = this.mounts[`${kind}/${id}`];
    if (mounted) return mounted;
    return this.roots.map((root) => join(root, kind, id)).find((path) => existsSync(path));
  }

  /** All files of a repository as the Hub's listing describes them. */
  async files(folder) {
    return Promise.all(fileNames(folder).map((name) => describeFile(join(folder, name), name)));
  }

  /** The one commit a repository has: a hash of what lies in it. */
  async commit(folder) {
    const hash = createHash('sha1');
    for (const file of await this.files(folder)) hash.update(`${file.path} ${file.oid}\n`);
    return hash.digest('hex');
  }
}
