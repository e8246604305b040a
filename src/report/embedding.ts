/**
 * Adapters as points of a plane, round by round: UMAP (McInnes, Healy and Melville, 2018) of their distances. Each round
 * starts where the one before ended, so that what moves in the picture has moved in the space of adapters. Draws are
 * seeded: a report of the same run is the same.
 */
import { UMAP } from 'umap-js';
import type { RoundGeometry } from './runs.js';

export type Point = readonly [x: number, y: number];

/** With fewer points UMAP's neighbourhoods mean nothing. */
export const FEWEST_POINTS = 4;

/** Later rounds only follow what has moved: short, with small steps. */
const FIRST = { nEpochs: 400, learningRate: 1 };
const LATER = { nEpochs: 120, learningRate: 0.25 };

export interface EmbeddedRound {
  readonly round: number;
  /** by place in the geometry's `submissions` */
  readonly points: readonly Point[];
}

/** Neighbours that a point's surroundings are judged by: UMAP's usual 15, fewer for few points. */
export function neighboursOf(n: number): number {
  return Math.min(15, n - 1, Math.max(3, Math.floor(n / 4)));
}

/**
 * @param rounds ascending, each of at least FEWEST_POINTS submissions
 * @param keyOf the same text for the same adapter in every round
 */
export function embedRounds(
  rounds: readonly RoundGeometry[],
  keyOf: (geometry: RoundGeometry, place: number) => string,
  seed: number,
): EmbeddedRound[] {
  const random = mulberry32(seed);
  let known = new Map<string, Point>();
  return rounds.map((geometry) => {
    const points = embed(geometry, (place) => known.get(keyOf(geometry, place)), random);
    known = new Map(points.map((point, place) => [keyOf(geometry, place), point]));
    return { round: geometry.round, points };
  });
}

function embed(geometry: RoundGeometry, start: (place: number) => Point | undefined, random: () => number): Point[] {
  const n = geometry.submissions.length;
  const places = Array.from({ length: n }, (_, i) => i);
  const starts = places.map(start);
  const warm = starts.some((point) => point !== undefined);
  const nNeighbors = neighboursOf(n);
  const umap = new UMAP({ nNeighbors, minDist: 0.3, random, ...(warm ? LATER : FIRST) });
  const nearest = places.map((i) =>
    places
      .map((j) => ({ j, distance: Math.sqrt(geometry.squared(i, j)) }))
      // The point itself comes first, as UMAP's own search gives it, whatever lies on top of it.
      .sort((a, b) => Number(b.j === i) - Number(a.j === i) || a.distance - b.distance || a.j - b.j)
      .slice(0, nNeighbors),
  );
  umap.setPrecomputedKNN(
    nearest.map((row) => row.map(({ j }) => j)),
    nearest.map((row) => row.map(({ distance }) => distance)),
  );
  // The vectors themselves are not looked at once neighbours are given.
  const epochs = umap.initializeFit(places.map((i) => [i]));
  const embedding = umap.getEmbedding();
  starts.forEach((point, i) => {
    if (point !== undefined) embedding[i]!.splice(0, 2, ...point);
  });
  for (let epoch = 0; epoch < epochs; epoch += 1) umap.step();
  return umap.getEmbedding().map(([x, y]): Point => [x!, y!]);
}

/** A 32-bit generator by Tommy Ettinger, fast enough for the millions of draws of UMAP. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
