/** The right name nearest to a mistaken one. */

/** Number of single-letter insertions, deletions, replacements and swaps of neighbours between two words. */
export function editDistance(a: string, b: string): number {
  // d[i][j]: distance of the first i letters of a and the first j of b (optimal string alignment)
  const d = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => i || j));
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const replace = d[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      d[i]![j] = Math.min(d[i - 1]![j]! + 1, d[i]![j - 1]! + 1, replace);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) d[i]![j] = Math.min(d[i]![j]!, d[i - 2]![j - 2]! + 1);
    }
  }
  return d[a.length]![b.length]!;
}

/**
 * The candidate nearest to `word`, or undefined where none is near: letter case, `-` and `_` do not count, and up to a
 * third of the letters may differ.
 * @param candidates pairs of a way to spell it and the name to suggest
 */
export function nearest(
  word: string,
  candidates: Iterable<readonly [spelling: string, name: string]>,
): string | undefined {
  if (word.length > 64) return undefined;
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, '');
  const wanted = plain(word);
  let best: { name: string; distance: number } | undefined;
  for (const [spelling, name] of candidates) {
    const distance = editDistance(wanted, plain(spelling));
    const allowed = Math.floor(Math.max(wanted.length, plain(spelling).length) / 3);
    if (distance <= allowed && (!best || distance < best.distance)) best = { name, distance };
  }
  return best?.name;
}

/** `; did you mean …?`, or nothing. */
export function didYouMean(word: string, names: Iterable<string>): string {
  const name = nearest(
    word,
    [...names].map((spelling) => [spelling, spelling] as const),
  );
  return name === undefined ? '' : `; did you mean ${name}?`;
}
