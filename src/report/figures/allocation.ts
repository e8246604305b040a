/** Who holds how many rows of which task (published Fig. 2a). */
import { bytes as grouped } from '../../run/table.js';
import { colourOf } from '../palette.js';
import { Plot, draw } from '../plot.js';
import type { Run } from '../runs.js';
import { WIDTH, type Drawn } from './figure.js';

/** The split of a run: one bubble for each client and task, its area the number of rows. */
export function allocation(run: Run, id: string): Drawn {
  const title = 'Rows by client and task';
  const { allocation: counts, tasks } = run;
  const cells = counts.flatMap((line, client) =>
    line.flatMap((rows, i) => (rows > 0 ? [{ client, task: tasks[i]!, i, rows }] : [])),
  );
  if (cells.length === 0) return { id, title, reason: 'no client holds any row' };
  const marginLeft = 24 + 7 * Math.max(...tasks.map((task) => task.length));
  const room = (WIDTH - marginLeft - 20) / counts.length;
  const largest = Math.max(2.5, Math.min(22, room * 0.62));
  const step = Math.max(30, Math.min(52, 2 * largest + 6));
  const total = (task: string) => cells.filter((cell) => cell.task === task).reduce((sum, { rows }) => sum + rows, 0);
  const svg = draw({
    alt: `${title}: ${tasks.map((task) => `${task} ${total(task)}`).join(', ')} rows over ${counts.length} clients`,
    width: WIDTH,
    height: 70 + step * tasks.length,
    marginTop: 16,
    marginBottom: 42,
    marginLeft,
    x: {
      label: 'client',
      type: 'point',
      domain: counts.map((_, client) => client),
      padding: 0.5,
      ...sparse(counts.length),
    },
    y: { label: null, type: 'point', domain: tasks, padding: 0.6 },
    r: { range: [0, largest], domain: [0, Math.max(...cells.map(({ rows }) => rows))] },
    marks: [
      Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1 }),
      Plot.dot(cells, {
        x: 'client',
        y: 'task',
        r: 'rows',
        fill: ({ i }: (typeof cells)[number]) => colourOf(i),
        fillOpacity: 0.75,
        stroke: ({ i }: (typeof cells)[number]) => colourOf(i),
        // A client with a handful of rows must not vanish.
        strokeWidth: 1.5,
        title: ({ client, task, rows }: (typeof cells)[number]) => `client ${client}, ${task}: ${grouped(rows)} rows`,
      }),
    ],
  });
  return {
    id,
    title,
    svg,
    caption:
      `The area of a bubble is the number of training rows; Dirichlet alpha ${run.config.dirichletAlpha}, ` +
      `least share ${run.config.minFrac}, seed ${run.config.seed}.`,
    table: {
      head: ['client', ...tasks, 'total'],
      rows: [
        ...counts.map((line, client) => [`#${client}`, ...line.map(grouped), grouped(sum(line))]),
        ['all', ...tasks.map((task) => grouped(total(task))), grouped(sum(cells.map(({ rows }) => rows)))],
      ],
    },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

/** Ticks of many clients: every fifth, tenth, ... */
function sparse(clients: number): { ticks?: number[] } {
  if (clients <= 25) return {};
  const every = [5, 10, 20, 50, 100].find((size) => clients / size <= 12) ?? Math.ceil(clients / 10);
  return { ticks: Array.from({ length: Math.ceil(clients / every) }, (_, i) => i * every) };
}
