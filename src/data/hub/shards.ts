/** Splits as the Hub's Parquet data sets lay them out. */
import { FltacError } from '../../errors.js';
import type { Snapshot } from './snapshot.js';

/**
 * The shards `<folder>/<split>-00000-of-0000N.parquet` in order. @throws NETWORK where there are none, or fewer than
 * their names say (as in a cache that was filled only in part)
 */
export function shardsOf(listed: readonly string[], folder: string, split: string, snapshot: Snapshot): string[] {
  const pattern = new RegExp(`^${folder}/${split}-(\\d+)-of-(\\d+)\\.parquet$`);
  const shards = listed.filter((name) => pattern.test(name)).sort();
  const expected = Number(pattern.exec(shards[0] ?? '')?.[2] ?? 1);
  if (shards.length === expected) return shards;
  throw new FltacError(
    'NETWORK',
    `dataset ${snapshot.repo.id} at commit ${snapshot.commit}: expected ${expected} file(s) ${folder}/${split}-*.parquet, ` +
      `found ${shards.length} (in ${folder}/: ${listed.join(', ') || 'nothing'}); ` +
      'if only the cache is used, run once with the network',
  );
}
