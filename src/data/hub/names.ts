/** Names that come from users or from the Hub and become parts of paths or addresses: checked before use. */
import { FltacError } from '../../errors.js';

export interface HubRepo {
  type: 'model' | 'dataset';
  /** "org/name", or "name" for the few old models without an organisation */
  id: string;
}

const REPO_ID = /^[A-Za-z0-9_][\w.-]*(\/[A-Za-z0-9_][\w.-]*)?$/;
const REVISION = /^[\w][\w./+@=-]*$/;

/** Whether a text can be a Hub id at all. */
export function isRepoId(id: string): boolean {
  return REPO_ID.test(id) && !id.includes('..') && !id.includes('--') && id.length <= 200;
}

/** Whether a text can be a branch, tag or commit. */
export function isRevision(revision: string): boolean {
  return REVISION.test(revision) && !climbs(revision);
}

/** @throws USAGE where the id or the revision cannot name anything on the Hub */
export function checkRepo(repo: HubRepo, revision: string): void {
  if (!isRepoId(repo.id)) {
    throw new FltacError(
      'USAGE',
      `a Hub id looks like "org/name", found "${repo.id}"; no such local folder exists either`,
    );
  }
  if (!isRevision(revision)) {
    throw new FltacError('USAGE', `a revision is a branch, a tag or a commit of ${repo.id}, found "${revision}"`);
  }
}

/** "model org/name" or "dataset org/name", for messages. */
export function repoTitle(repo: HubRepo): string {
  return `${repo.type} ${repo.id}`;
}

/** Half a character, as no file has in its name: neither an address nor a path can hold it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Refuses a listed file name that is none, or that could lie outside the cache once joined to it, under POSIX or Windows rules
 * (huggingface_hub's `_validate_relative_filename`; @huggingface/hub has the same check but does not export it).
 * @throws NETWORK
 */
export function checkFileName(repo: HubRepo, name: unknown): asserts name is string {
  if (typeof name === 'string' && name !== '' && !name.includes('\0') && !climbs(name)) {
    if (!LONE_SURROGATE.test(name)) return;
    throw new FltacError(
      'NETWORK',
      `${repoTitle(repo)} lists a file named ${shown(name)}, which is no Unicode text: refused`,
    );
  }
  throw new FltacError(
    'NETWORK',
    `${repoTitle(repo)} lists a file named ${shown(name)}, which would lie outside the cache: refused`,
  );
}

/** Refuses what is not a git or LFS hash, since it becomes a file name. @throws NETWORK */
export function checkHash(repo: HubRepo, what: string, hash: unknown): asserts hash is string {
  if (typeof hash === 'string' && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) return;
  throw new FltacError(
    'NETWORK',
    `the Hub gave ${shown(hash)} as ${what} of ${repoTitle(repo)}, where a hash of 40 or 64 hex digits was expected`,
  );
}

/** A value of an answer for a message: short, whatever it is. Arrays and objects, which may lie 20,000 deep, by kind alone. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return JSON.stringify(value).slice(0, 100);
}

/** Whether a name with / between its parts could lead out of the folder it is joined to, or has parts without a name. */
export function climbs(name: string): boolean {
  const parts = name.split(/[/\\]/);
  return (
    name.includes('\\') || parts.some((part) => part === '' || part === '.' || part === '..' || /^[A-Za-z]:/.test(part))
  );
}
