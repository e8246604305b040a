/**
 * Which submissions of a round stand out. It is a report for people: nothing is left out for it. Two measures, because
 * either alone is blind: a large update may take a cluster of its own, where no neighbour is far; and one of ordinary
 * length may point elsewhere than those of its cluster.
 */

/** Deviations from the median, in standard deviations of a normal distribution, from which on a value stands out. */
const DEVIATIONS = 6;
/** The median absolute deviation of a normal distribution is its standard deviation divided by this. */
const MAD_SCALE = 1.4826;
/** And at least this many times the median: where all values are alike a deviation of little is nothing. */
const TIMES_MEDIAN = 2;
/** With fewer values nothing is usual. */
const FEWEST = 4;

export type Measure = 'update_norm' | 'distance';

export interface Outlier {
  /** index into the round's submissions */
  readonly submission: number;
  readonly measure: Measure;
  readonly value: number;
  /** of the values it was compared with */
  readonly median: number;
}

/** Squared distances of pairs (i, j), i < j, of `submissions`, row by row of the upper triangle. */
export interface Distances {
  readonly submissions: readonly number[];
  readonly squared: ArrayLike<number>;
}

/**
 * A value stands out where it is above median + 6 x 1.4826 x MAD and above twice the median. Update norms are compared
 * over all submissions; distances within each cluster of five or more, to its medoid: the member with the least sum of
 * distances to the others, which one bad member cannot move as it moves the mean.
 *
 * @param norms update norm of each submission
 * @param labels cluster of each submission
 * @param distances between the submissions, where they are known
 * @returns by submission, then measure
 */
export function findOutliers(
  norms: readonly number[],
  labels: readonly number[],
  distances: Distances | undefined,
): Outlier[] {
  const all = norms.map((value, submission) => ({ submission, value }));
  const found = standingOut('update_norm', all);
  for (const members of distances === undefined ? [] : clustersOf(distances.submissions, labels)) {
    found.push(...standingOut('distance', fromMedoid(distances!, members)));
  }
  return found.sort((a, b) => a.submission - b.submission || (a.measure < b.measure ? 1 : -1));
}

interface Valued {
  submission: number;
  value: number;
}

function standingOut(measure: Measure, values: readonly Valued[]): Outlier[] {
  if (values.length < FEWEST) return [];
  const median = medianOf(values.map(({ value }) => value));
  const deviation = medianOf(values.map(({ value }) => Math.abs(value - median)));
  const limit = Math.max(median + DEVIATIONS * MAD_SCALE * deviation, TIMES_MEDIAN * median);
  return values
    .filter(({ value }) => value > limit)
    .map(({ submission, value }) => ({ submission, measure, value, median }));
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1]! + sorted[Math.floor(half)]!) / 2;
}

/** Positions in `submissions`, cluster by cluster. */
function clustersOf(submissions: readonly number[], labels: readonly number[]): number[][] {
  const clusters = new Map<number, number[]>();
  submissions.forEach((submission, at) => {
    const label = labels[submission]!;
    clusters.set(label, [...(clusters.get(label) ?? []), at]);
  });
  return [...clusters.values()];
}

/** The distances of a cluster's other members to its medoid. */
function fromMedoid({ submissions, squared }: Distances, members: readonly number[]): Valued[] {
  const n = submissions.length;
  const distance = (a: number, b: number) => {
    const [i, j] = a < b ? [a, b] : [b, a];
    return i === j ? 0 : Math.sqrt(Math.max(0, squared[i * n - (i * (i + 1)) / 2 + j - i - 1]!));
  };
  const sums = members.map((member) => members.reduce((sum, other) => sum + distance(member, other), 0));
  const medoid = members[sums.indexOf(Math.min(...sums))]!;
  return members
    .filter((member) => member !== medoid)
    .map((member) => ({ submission: submissions[member]!, value: distance(medoid, member) }));
}
