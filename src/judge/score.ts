/** Reading a judge's reply. */

const NUMBER = String.raw`(\d*\.?\d+|\d+\.)\.?`;
const BARE = new RegExp(`^${NUMBER}$`);
/** "Score: 0.8", "Final score = 0.8." */
const LABELLED = new RegExp(String.raw`^(?:final |overall )?(?:score|rating)\s*(?::|=|is)\s*${NUMBER}$`, 'i');
const EMPHASIS = /[*_`#"]/g;

/**
 * The score that a reply gives: a number from 0 to 1 that is the whole reply, or that stands on exactly one line of the
 * form "Score: 0.8". Fractions, percentages, numbers out of range and anything else give null, never a guess.
 */
export function parseScore(reply: string): number | null {
  const lines = reply.split(/\r?\n/).map((line) => line.replace(EMPHASIS, '').trim());
  const labelled = lines.flatMap((line) => LABELLED.exec(line)?.[1] ?? []);
  const bare = BARE.exec(lines.join('\n').trim())?.[1];
  const found = bare === undefined ? labelled : [bare];
  const score = found.length === 1 ? Number(found[0]) : NaN;
  return score >= 0 && score <= 1 ? score : null;
}
