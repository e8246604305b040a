/** What clusters hold: tasks by cluster, and who moved between rounds. */
import { countTable, groupBy, scoredAssignments, shownRounds, spread, tasksOfClusters } from '../facts.js';
import type { AssignmentRecord } from '../journals.js';
import { colourOf } from '../palette.js';
import { Plot, draw } from '../plot.js';
import type { Run } from '../runs.js';
import { WIDTH, type Absent, type Drawn } from './figure.js';

const MOST_COLUMNS = 10;

function absence(run: Run, id: string, title: string): Absent {
  const reason =
    run.rounds.length === 0
      ? 'no round is complete yet'
      : `the method ${run.config.method} does not cluster adapters by task`;
  return { id, title, reason };
}

/** How many submissions of each task are in each cluster, in the last round. */
export function confusion(run: Run, id: string): Drawn {
  const title = 'Clusters and tasks';
  const last = scoredAssignments(run).at(-1);
  if (last === undefined) return absence(run, id, title);
  const stands = tasksOfClusters(last, run.tasks);
  const labels = [...stands.keys()].sort((a, b) => place(stands, a, run) - place(stands, b, run));
  const counts = countTable(last, labels, run.tasks);
  const nameOf = (label: number) => `cluster ${label}`;
  const cells = labels.flatMap((label, row) =>
    run.tasks.map((task, column) => ({
      cluster: nameOf(label),
      task,
      count: counts[row]![column]!,
      share: counts[row]![column]! / Math.max(1, ...counts.flat()),
      right: stands.get(label) === column,
    })),
  );
  const wide = Math.max(...run.tasks.map((task) => task.length));
  const svg = draw({
    alt: `${title} in round ${last.round}: ${cells
      .filter(({ count }) => count > 0)
      .map(({ cluster, task, count }) => `${cluster} ${count} ${task}`)
      .join(', ')}`,
    width: WIDTH,
    height: 70 + 38 * labels.length,
    marginTop: 12,
    marginBottom: 44,
    marginLeft: 84,
    x: { label: 'true task', domain: run.tasks, ...(wide * run.tasks.length > 72 ? { tickRotate: -20 } : {}) },
    y: { label: null, domain: labels.map(nameOf) },
    marks: [
      Plot.cell(cells, {
        x: 'task',
        y: 'cluster',
        fill: ({ right }: (typeof cells)[number]) => (right ? 'var(--series-0)' : 'var(--series-1)'),
        fillOpacity: ({ share }: (typeof cells)[number]) => 0.65 * share,
        stroke: 'var(--line)',
        inset: 1,
        title: ({ cluster, task, count }: (typeof cells)[number]) => `${cluster}, ${task}: ${count}`,
      }),
      ...[true, false].map((bold) =>
        Plot.text(
          cells.filter(({ right }) => right === bold),
          {
            x: 'task',
            y: 'cluster',
            text: ({ count }: (typeof cells)[number]) => String(count),
            fontWeight: bold ? 700 : 400,
            fillOpacity: ({ count }: (typeof cells)[number]) => (count > 0 ? 1 : 0.4),
          },
        ),
      ),
    ],
  });
  return {
    id,
    title,
    svg,
    caption:
      `Submissions in round ${last.round}. Bold and blue: the task that a cluster stands for under the best one-to-one match; ` +
      'orange: submissions that ended elsewhere.',
  };
}

/** Clusters in the order of the tasks that they stand for, those left over last. */
function place(stands: ReadonlyMap<number, number>, label: number, run: Run): number {
  const task = stands.get(label) ?? -1;
  return task < 0 ? run.tasks.length + label : task;
}

/** One submission of one column of the flow. */
interface Item {
  readonly key: string;
  readonly task: number;
  /** index of the task that its cluster stands for; tasks.length and above for clusters that stand for none */
  readonly cluster: number;
}

interface Column {
  readonly title: string;
  readonly items: readonly Item[];
}

interface Band {
  readonly column: number;
  readonly low: number;
  readonly high: number;
}

const HALF_NODE = 0.07;

/** Submissions from the true tasks through the clusters of the rounds. */
export function flow(run: Run, id: string): Drawn {
  const title = 'Assignment from round to round';
  const all = scoredAssignments(run);
  if (all.length === 0) return absence(run, id, title);
  const records = spread(all, MOST_COLUMNS);
  const rounds = records.map((record) => columnOf(run, record));
  const truth: Column = {
    title: 'task',
    items: rounds[0]!.items.map((item) => ({ ...item, cluster: item.task })),
  };
  const columns = [truth, ...rounds];
  const gap = 0.04 * Math.max(...columns.map(({ items }) => items.length));
  const stacks = columns.map(({ items }) => stackOf(items, gap));
  const nodes = stacks.flatMap((stack, column) =>
    [...groupBy([...stack.values()], ({ item }) => item.cluster)].map(([cluster, own]) => ({
      column,
      cluster,
      count: own.length,
      low: Math.min(...own.map(({ at }) => at)),
      high: Math.max(...own.map(({ at }) => at)) + 1,
      text: `${column === 0 ? 'true task' : `round ${columns[column]!.title}`}, ${nameOf(run, cluster)}: ${own.length}`,
    })),
  );
  const ribbons = ribbonsOf(stacks, run);
  const moved = ribbons
    .filter(({ column, from, to }) => column > 0 && from !== to)
    .reduce((sum, { count }) => sum + count, 0);
  const left = 16 + 7 * Math.max(...run.tasks.map((task) => task.length));
  const first = nodes.filter(({ column }) => column === 0);
  const svg = draw({
    alt: `${title}: ${moved} changes of cluster between the ${records.length} rounds that are shown`,
    width: WIDTH,
    height: 320,
    marginLeft: left,
    marginRight: 20,
    marginTop: 12,
    marginBottom: 30,
    x: { axis: null, domain: [-HALF_NODE, columns.length - 1 + HALF_NODE] },
    y: { axis: null, domain: [Math.max(...nodes.map(({ high }) => high)), 0] },
    marks: [
      ...[...groupBy(ribbons, ({ task }) => task)].map(([task, own]) =>
        Plot.areaY(
          own.flatMap((ribbon, z) => ribbon.ends.map((end) => ({ ...end, z, text: ribbon.text }))),
          {
            x: 'column',
            y1: 'low',
            y2: 'high',
            z: 'z',
            curve: 'bump-x',
            fill: colourOf(task),
            fillOpacity: 0.45,
            title: 'text',
          },
        ),
      ),
      Plot.rect(nodes, {
        x1: ({ column }: Band) => column - HALF_NODE,
        x2: ({ column }: Band) => column + HALF_NODE,
        y1: 'low',
        y2: 'high',
        fill: ({ cluster }: (typeof nodes)[number]) => colourOf(cluster < run.tasks.length ? cluster : -1),
        title: 'text',
      }),
      Plot.text(first, {
        x: -HALF_NODE,
        y: ({ low, high }: Band) => (low + high) / 2,
        text: ({ cluster }: (typeof nodes)[number]) => nameOf(run, cluster),
        dx: -6,
        textAnchor: 'end',
      }),
      Plot.text(columns, { x: (_, i) => i, text: 'title', frameAnchor: 'bottom', dy: 20, fill: 'var(--muted)' }),
    ],
  });
  return {
    id,
    title,
    svg,
    caption:
      'From the true task on the left through the numbered rounds. Ribbons are submissions in the colour of their true task; blocks are clusters in the colour of the task that they stand ' +
      `for, grey where they stand for none. A ribbon that leaves its colour is a wrong assignment.${shownRounds(records.length, all.length)}`,
  };
}

function nameOf(run: Run, cluster: number): string {
  return run.tasks[cluster] ?? 'a cluster of no task';
}

function columnOf(run: Run, record: AssignmentRecord): Column {
  const stands = tasksOfClusters(record, run.tasks);
  const items = record.labels.flatMap((label, i) => {
    const task = run.tasks.indexOf(record.true_tasks[i]!);
    const key = `${record.clients[i]!} ${record.true_tasks[i]!}`;
    return task < 0 ? [] : [{ key, task, cluster: place(stands, label, run) }];
  });
  return { title: String(record.round), items };
}

/** Where each submission stands in its column: by cluster, then true task, a gap between clusters. */
function stackOf(items: readonly Item[], gap: number): Map<string, { item: Item; at: number }> {
  const sorted = [...items].sort((a, b) => a.cluster - b.cluster || a.task - b.task);
  let at = 0;
  return new Map(
    sorted.map((item, i) => {
      if (i > 0 && sorted[i - 1]!.cluster !== item.cluster) at += gap;
      const placed = { item, at };
      at += 1;
      return [item.key, placed];
    }),
  );
}

interface Move {
  readonly from: number;
  readonly to: number;
  readonly task: number;
  /** place in the column before and in the one after */
  readonly at: number;
  readonly next: number;
}

/** Submissions that go the same way between two neighbouring columns, as one ribbon. */
function ribbonsOf(stacks: readonly ReadonlyMap<string, { item: Item; at: number }>[], run: Run) {
  return stacks.slice(1).flatMap((after, column) => {
    const moves = [...stacks[column]!.values()].flatMap(({ item, at }): Move[] => {
      const next = after.get(item.key);
      return next === undefined
        ? []
        : [{ from: item.cluster, to: next.item.cluster, task: item.task, at, next: next.at }];
    });
    const starts = bandsOf(
      moves,
      ({ from }) => from,
      ({ at }) => at,
    );
    const ends = bandsOf(
      moves,
      ({ to }) => to,
      ({ next }) => next,
    );
    return [...groupBy(moves, wayOf)].map(([way, group]) => {
      const { from, to, task } = group[0]!;
      const count = group.length;
      const [start, end] = [starts.get(way)!, ends.get(way)!];
      return {
        column,
        from,
        to,
        task,
        count,
        text: `${count} of ${run.tasks[task]!}: ${nameOf(run, from)} → ${nameOf(run, to)}`,
        ends: [
          { column: column + HALF_NODE, low: start, high: start + count },
          { column: column + 1 - HALF_NODE, low: end, high: end + count },
        ] satisfies Band[],
      };
    });
  });
}

function wayOf({ from, to, task }: Move): string {
  return `${from} ${to} ${task}`;
}

/** Where each way begins in a column: those of one cluster and task lie one after another from the first's place on. */
function bandsOf(
  moves: readonly Move[],
  block: (move: Move) => number,
  at: (move: Move) => number,
): Map<string, number> {
  const bands = new Map<string, number>();
  for (const members of groupBy(moves, (move) => `${block(move)} ${move.task}`).values()) {
    let low = Math.min(...members.map(at));
    const ways = [...groupBy(members, wayOf)].sort(([, [a]], [, [b]]) => a!.from - b!.from || a!.to - b!.to);
    for (const [way, own] of ways) {
      bands.set(way, low);
      low += own.length;
    }
  }
  return bands;
}
