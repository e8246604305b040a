/** A study's files. */
import path from 'node:path';
import { standalone } from '../report/standalone.js';
import { assertWritable, writeJsonFile, writeTextFile } from '../run/files.js';
import { rankFigure } from './rank-figure.js';
import type { RankStudy } from './rank.js';

/**
 * Proves, before the work, that a folder can be written.
 *
 * @returns writes rank.json and rank.svg into it
 * @throws FltacError IO naming the path; the returned function, too
 */
export async function saveStudy(folder: string): Promise<(study: RankStudy) => Promise<void>> {
  const [json, svg] = [path.join(folder, 'rank.json'), path.join(folder, 'rank.svg')];
  await assertWritable(json);
  return async (study) => {
    await writeJsonFile(json, study);
    await writeTextFile(svg, standalone(rankFigure(study)));
  };
}
