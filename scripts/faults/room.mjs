// A folder of its own for one fault: files, a command in it, and what the command leaves.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(root, 'dist', 'cli', 'main.js');
/** No command may take longer, whatever it is given. */
const HANG_MS = 120_000;
/** What the environment of the caller must not decide. */
const CLEAN = ['HF_TOKEN', 'HF_ENDPOINT', 'HF_HUB_OFFLINE', 'HF_HOME', 'HF_HUB_CACHE', 'HTTP_PROXY', 'HTTPS_PROXY'];

export class Room {
  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'fltac-fault-'));
    this.mounts = [];
    this.before = new Set();
  }

  path(name) {
    return join(this.folder, name);
  }

  write(name, content) {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  read(name) {
    return readFileSync(this.path(name));
  }

  /** A copy of a file or folder of the project. */
  copy(from, name) {
    cpSync(join(root, from), this.path(name), { recursive: true });
    return this.path(name);
  }

  /** A small file system; false where this user cannot mount one. */
  mount(name, size) {
    mkdirSync(this.path(name), { recursive: true });
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', this.path(name)]);
    if (status !== 0) return false;
    this.mounts.push(this.path(name));
    return true;
  }

  /** Gives a mounted file system another size. */
  resize(name, size) {
    const { status } = spawnSync('mount', ['-o', `remount,size=${size}`, this.path(name)]);
    if (status !== 0) throw new Error(`${name} cannot be made ${size}`);
  }

  /** Takes the files there now as given: what is left is told without them. */
  settle() {
    this.before = new Set(this.files());
  }

  /** Runs a command in the folder; ends it where it hangs. */
  async fltac(argv, { env = {}, uid } = {}) {
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !CLEAN.includes(name)));
    const child = spawn(process.execPath, [MAIN, ...argv], {
      cwd: this.folder,
      env: { ...inherited, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: HANG_MS,
      ...(uid !== undefined && { uid, gid: uid }),
    });
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].on('data', (bytes) => (texts[name] += bytes.toString()));
    const [code, signal] = await new Promise((resolve) => child.on('close', (...end) => resolve(end)));
    return { code: code ?? `ended by ${signal}`, ...texts };
  }

  /** Files and links, by path. */
  files() {
    return readdirSync(this.folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => !lstatSync(this.path(name)).isDirectory())
      .sort();
  }

  /** What the command has left, in words, and what must not be: temporary files, blobs with another hash than their name. */
  left() {
    const added = this.files().filter((name) => !this.before.has(name));
    const wrong = added.filter((name) => name.includes('.tmp-') || this.isFalseBlob(name));
    const shown = added.filter((name) => !name.includes('/snapshots/') && !name.includes('/refs/'));
    const words = shown.map((name) => name.replace(/[0-9a-f]{40,64}/g, '<hash>'));
    return { wrong, words: words.length > 6 ? [...words.slice(0, 6), `and ${words.length - 6} more`] : words };
  }

  isFalseBlob(name) {
    const hash = /\/blobs\/([0-9a-f]{40,64})$/.exec(name)?.[1];
    if (hash === undefined) return false;
    const content = this.read(name);
    const found =
      hash.length === 64
        ? createHash('sha256').update(content)
        : createHash('sha1').update(`blob ${content.length}\0`).update(content);
    return found.digest('hex') !== hash;
  }

  close() {
    for (const mount of this.mounts) spawnSync('umount', [mount]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
