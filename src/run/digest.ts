/** SHA-256 digests of texts, bytes and files, as lower-case hex. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { FltacError, messageOf } from '../errors.js';

export function digestOfText(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

/** @throws FltacError IO */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash).catch((cause: unknown) => {
    throw new FltacError('IO', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  });
  return hash.digest('hex');
}
