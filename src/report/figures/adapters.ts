/** Where adapters lie: UMAP of a round's submissions (published Fig. 4), and their distances. */
import sharp from 'sharp';
import { groupBy, shownRounds, spread, tasksOfClusters } from '../facts.js';
import { FEWEST_POINTS, embedRounds, neighboursOf, type EmbeddedRound } from '../embedding.js';
import type { AssignmentRecord } from '../journals.js';
import { colourOf, symbolOf, viridis } from '../palette.js';
import { Plot, draw, type LegendEntry } from '../plot.js';
import type { RoundGeometry, Run } from '../runs.js';
import { WIDTH, type Absent, type Drawn, type Frame } from './figure.js';

const MOST_FRAMES = 20;
const MOST_PANELS = 6;

/** A round's geometry with who sent what. */
interface Scene {
  readonly geometry: RoundGeometry;
  readonly assignment: AssignmentRecord;
}

/** One submission as it is drawn. */
interface Mark {
  readonly x: number;
  readonly y: number;
  readonly round: number;
  /** index of the true task; -1 for an adapter of several */
  readonly task: number;
  /** index of the task that its cluster stands for; -1 for none */
  readonly cluster: number;
  readonly label: string;
}

function scenesOf(run: Run): Scene[] {
  const assignments = new Map(run.assignments.map((record) => [record.round, record]));
  return run.geometry.flatMap((geometry) => {
    const assignment = assignments.get(geometry.round);
    return assignment === undefined || geometry.submissions.length < FEWEST_POINTS ? [] : [{ geometry, assignment }];
  });
}

function absence(run: Run, id: string, title: string): Absent {
  const few = run.geometry.some(({ submissions }) => submissions.length < FEWEST_POINTS);
  const reason =
    run.config.recordDistances === 0
      ? 'the run recorded no distances: record_distances is 0'
      : few
        ? `it needs ${FEWEST_POINTS} adapters or more in a round`
        : 'the folder has no geometry.jsonl of a complete round: the run is not that far, trains nothing, or is of an ' +
          'earlier version';
  return { id, title, reason };
}

/** Small pictures of some rounds, as published. */
export function adapterMaps(run: Run, id: string): Drawn {
  const title = 'Adapters by round (UMAP)';
  const all = scenesOf(run);
  const scenes = spread(all, MOST_FRAMES);
  if (scenes.length === 0) return absence(run, id, title);
  const marks = marksOf(run, scenes);
  const byRound = groupBy(marks, ({ round }) => round);
  const rounds = [...byRound.keys()];
  const panels = spread(rounds, MOST_PANELS);
  const frames = rounds.map((round) => ({
    label: `round ${round}`,
    svg: map(run, byRound.get(round)!, [round]),
  }));
  const measured = Math.max(...scenes.map(({ geometry }) => geometry.submissions.length));
  const sent = Math.max(...scenes.map(({ assignment }) => assignment.labels.length));
  return {
    id,
    title,
    svg: map(
      run,
      marks.filter(({ round }) => panels.includes(round)),
      panels,
    ),
    frames,
    caption:
      `Each mark is the adapter of one client and task as it was sent, before averaging${measured < sent ? ` (a sample of ${measured} of ${sent})` : ''}: ` +
      'its shape is the true task, its colour the task that its cluster stands for. UMAP of the distances of ' +
      `K-means' space, ${neighboursOf(measured)} neighbours; a round starts from the positions of the one before. ` +
      `Only who is near whom means something.${shownRounds(rounds.length, all.length)}`,
  };
}

function marksOf(run: Run, scenes: readonly Scene[]): Mark[] {
  const key = (geometry: RoundGeometry, place: number) => {
    const { assignment } = scenes.find((scene) => scene.geometry === geometry)!;
    const index = geometry.submissions[place]!;
    return `${assignment.clients[index]!} ${assignment.true_tasks[index]!}`;
  };
  const embedded = embedRounds(
    scenes.map(({ geometry }) => geometry),
    key,
    run.config.seed,
  );
  return embedded.flatMap((round, i) => marksOfRound(run, scenes[i]!, round));
}

/** A round fills its picture, whatever its scale: UMAP's has no meaning. */
function marksOfRound(run: Run, { geometry, assignment }: Scene, { round, points }: EmbeddedRound): Mark[] {
  const [across, along] = [scaling(points.map(([x]) => x)), scaling(points.map(([, y]) => y))];
  const stands = assignment.clustering_accuracy === null ? undefined : tasksOfClusters(assignment, run.tasks);
  return points.map(([x, y], place) => {
    const index = geometry.submissions[place]!;
    const truth = assignment.true_tasks[index]!;
    const label = assignment.labels[index]!;
    const task = run.tasks.indexOf(truth);
    const cluster = stands === undefined ? task : (stands.get(label) ?? -1);
    const name = stands === undefined ? '' : `, cluster ${label}${cluster < 0 ? '' : ` (${run.tasks[cluster]!})`}`;
    return {
      x: across(x),
      y: along(y),
      round,
      task,
      cluster,
      label: `client ${assignment.clients[index]!}, ${truth}${name}`,
    };
  });
}

/** Some rounds side by side. */
function map(run: Run, marks: readonly Mark[], rounds: readonly number[]): string {
  const columns = Math.min(3, rounds.length);
  const lines = Math.ceil(rounds.length / columns);
  const place = (round: number) => ({
    fx: rounds.indexOf(round) % columns,
    fy: Math.floor(rounds.indexOf(round) / columns),
  });
  const placed = marks.map((mark) => ({ ...mark, ...place(mark.round) }));
  const wrong = marks.filter(({ task, cluster }) => task !== cluster).length;
  const single = rounds.length === 1;
  return draw({
    alt:
      `UMAP of adapters in round ${rounds.join(', ')}: ${marks.length} marks, ` +
      (wrong === 0 ? 'every cluster is of one task' : `${wrong} in the cluster of another task`),
    width: WIDTH,
    height: single ? 420 : 40 + 210 * lines,
    margin: 12,
    marginTop: single ? 14 : 24,
    legend: taskLegend(run, marks),
    fx: { axis: null, padding: single ? 0 : 0.06 },
    fy: { axis: null, padding: single ? 0 : 0.14 },
    x: { axis: null, domain: [0, 1], inset: 14 },
    y: { axis: null, domain: [0, 1], inset: 14 },
    marks: [
      Plot.frame({ stroke: 'var(--line)' }),
      ...[...groupBy(placed, ({ task }) => task)].map(([task, own]) =>
        Plot.dot(own, {
          x: 'x',
          y: 'y',
          fx: 'fx',
          fy: 'fy',
          symbol: symbolOf(task),
          r: single ? 6 : 4,
          fill: ({ cluster }: Mark) => colourOf(cluster),
          stroke: 'var(--background)',
          strokeWidth: 0.7,
          title: 'label',
        }),
      ),
      ...(single
        ? []
        : [
            Plot.text(
              rounds.map((round) => ({ round, ...place(round) })),
              {
                text: ({ round }: { round: number }) => `round ${round}`,
                fx: 'fx',
                fy: 'fy',
                frameAnchor: 'top-left',
                dy: -13,
              },
            ),
          ]),
    ],
  });
}

function taskLegend(run: Run, marks: readonly Mark[]): LegendEntry[] {
  const several = marks.some(({ task }) => task < 0);
  return [
    ...run.tasks.map((label, i): LegendEntry => ({ label, colour: colourOf(i), symbol: symbolOf(i) })),
    ...(several ? [{ label: 'several tasks', colour: colourOf(-1), symbol: symbolOf(-1) }] : []),
  ];
}

/** Takes the range of the values to that from 0 to 1. */
function scaling(values: readonly number[]): (value: number) => number {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return (value) => (high > low ? (value - low) / (high - low) : 0.5);
}

/** Distances of all pairs as a heat map, by true task and client. */
export async function distanceMaps(run: Run, id: string): Promise<Drawn> {
  const title = 'Distances between adapters';
  const all = scenesOf(run);
  const scenes = spread(all, MOST_FRAMES);
  if (scenes.length === 0) return absence(run, id, title);
  const most = Math.max(...scenes.map(({ geometry }) => largest(geometry)));
  const frames: Frame[] = [];
  for (const scene of scenes) {
    frames.push({ label: `round ${scene.geometry.round}`, svg: await heatMap(run, scene, most) });
  }
  return {
    id,
    title,
    svg: frames.at(-1)!.svg,
    frames,
    caption:
      "Distances in K-means' space, from the Gram matrix of the submissions before averaging; rows and columns by true task, " +
      `then client. Dark blocks along the diagonal are tasks that keep to themselves.${shownRounds(scenes.length, all.length)}`,
  };
}

function largest(geometry: RoundGeometry): number {
  let most = 0;
  for (let i = 0; i < geometry.submissions.length; i += 1) {
    for (let j = 0; j < i; j += 1) most = Math.max(most, geometry.squared(i, j));
  }
  return Math.sqrt(most);
}

async function heatMap(run: Run, { geometry, assignment }: Scene, most: number): Promise<string> {
  const truth = (place: number) => run.tasks.indexOf(assignment.true_tasks[geometry.submissions[place]!]!);
  const order = geometry.submissions.map((_, place) => place).sort((a, b) => truth(a) - truth(b) || a - b);
  const n = order.length;
  const groups = [...groupBy(order.map(truth), (task) => task)].map(([task, members]) => ({
    task,
    size: members.length,
  }));
  const blocks = groups.map(({ task, size }, i) => {
    const from = groups.slice(0, i).reduce((sum, group) => sum + group.size, 0);
    return { name: task < 0 ? 'several tasks' : run.tasks[task]!, from, to: from + size };
  });
  const side = 360;
  const atScale = { frameAnchor: 'top-right', textAnchor: 'end', dx: 62 } as const;
  const marginLeft = 24 + 7 * Math.max(...blocks.map(({ name }) => name.length));
  const middle = { from: 0, to: n };
  const [pixels, scale] = await Promise.all([
    picture(n, n, (i, j) => Math.sqrt(geometry.squared(order[i]!, order[j]!)) / (most || 1)),
    picture(64, 1, (i) => 1 - i / 63),
  ]);
  return draw({
    alt: `Heat map of the distances of ${n} adapters in round ${geometry.round}, the largest ${most.toPrecision(3)}`,
    width: marginLeft + side + 90,
    height: side + 34,
    marginLeft,
    marginRight: 90,
    marginTop: 10,
    marginBottom: 24,
    x: { axis: null, domain: [0, n] },
    y: { axis: null, domain: [n, 0] },
    marks: [
      image(pixels, { frameAnchor: 'middle', width: side, height: side }),
      Plot.ruleX(blocks.slice(1), { x: 'from', stroke: 'white', strokeWidth: 1 }),
      Plot.ruleY(blocks.slice(1), { y: 'from', stroke: 'white', strokeWidth: 1 }),
      Plot.text(blocks, {
        x: middle.from,
        y: ({ from, to }: (typeof blocks)[number]) => (from + to) / 2,
        text: 'name',
        dx: -8,
        textAnchor: 'end',
      }),
      image(scale, { frameAnchor: 'top-right', width: 12, height: 120, dx: 74, dy: 60 }),
      // Labels end before the bar, however long they are.
      ...[
        { text: most.toPrecision(3), dy: 0 },
        { text: '0', dy: 111 },
      ].map(({ text, dy }) => Plot.text([text], { ...atScale, text: (d: string) => d, dy })),
    ],
  });
}

/** A matrix of values from 0 to 1 as the address of a PNG, one pixel each. */
async function picture(height: number, width: number, value: (row: number, column: number) => number): Promise<string> {
  const raw = Buffer.alloc(height * width * 3);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) raw.set(viridis(value(row, column)), 3 * (row * width + column));
  }
  const png = await sharp(raw, { raw: { width, height, channels: 3 } })
    .png({ palette: true, colours: 128, dither: 0 })
    .toBuffer();
  return `data:image/png;base64,${png.toString('base64')}`;
}

function image(src: string, options: Omit<Plot.ImageOptions, 'src'>): Plot.Markish {
  return Plot.image([src], {
    ...options,
    src: (d: string) => d,
    preserveAspectRatio: 'none',
    imageRendering: 'pixelated',
  });
}
