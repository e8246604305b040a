import { FltacError } from '../errors.js';
import { Generator, pairwiseSum } from '../numpy/index.js';

export interface PartitionOptions {
  nClients: number;
  /** concentration of the Dirichlet draw: small means that few clients hold most of a task */
  dirichletAlpha: number;
  /** a client whose share of a task is below this gets none of it */
  minFrac: number;
  seed: number;
  /** whose numbers are added to the seed: the tasks' places as listed, or in alphabetical order */
  order: 'listed' | 'sorted';
}

export interface TaskSize {
  name: string;
  rows: number;
}

/** Which client holds which training rows of which task. */
export interface Partition {
  tasks: readonly string[];
  nClients: number;
  /** rows[client][task index] = training rows of that client, in drawn order */
  rows: readonly (readonly Int32Array[])[];
}

/**
 * Splits every task's rows over the clients, to the row as the published code does.
 *
 * Task number i draws from NumPy's default_rng(seed + i): shares p from Dirichlet(alpha, ..., alpha), entries below
 * minFrac set to 0 and p renormalised (uniform if none is left), then a permutation of the rows, cut at
 * floor(cumsum(p) * rows). Columns stay in listed order whatever `order` says.
 *
 * @throws FltacError USAGE for options or sizes that make no partition
 */
export function partitionTasks(tasks: readonly TaskSize[], options: PartitionOptions): Partition {
  checkArguments(tasks, options);
  const names = tasks.map((task) => task.name);
  const seeds = seedNumbers(names, options.order);
  const columns = tasks.map((task, index) =>
    splitTask(task.rows, BigInt(options.seed) + BigInt(seeds[index]!), options),
  );
  const rows = Array.from({ length: options.nClients }, (_, client) => columns.map((column) => column[client]!));
  return { tasks: names, nClients: options.nClients, rows };
}

/** One task's shares: a Dirichlet draw without its small entries, summing to 1. */
export function clientShares(rng: Generator, options: PartitionOptions): Float64Array {
  const n = options.nClients;
  const drawn = rng.dirichlet(new Array<number>(n).fill(options.dirichletAlpha));
  const kept = drawn.map((share) => (share < options.minFrac ? 0 : share));
  const shares = kept.some((share) => share > 0) ? kept : kept.fill(1 / n);
  const total = pairwiseSum(shares);
  return shares.map((share) => share / total);
}

function splitTask(rows: number, seed: bigint, options: PartitionOptions): Int32Array[] {
  const rng = new Generator(seed);
  const shares = clientShares(rng, options);
  const order = rng.permutation(rows);
  const parts: Int32Array[] = [];
  let sum = 0;
  let start = 0;
  shares.forEach((share, client) => {
    sum += share;
    const end = client === shares.length - 1 ? rows : Math.floor(sum * rows);
    parts.push(order.slice(start, end));
    start = end;
  });
  return parts;
}

/** The number of each listed task that is added to the seed. */
function seedNumbers(names: readonly string[], order: PartitionOptions['order']): number[] {
  if (order === 'listed') return names.map((_, index) => index);
  // by code point, as Python sorts; UTF-8 bytes have the same order
  const sorted = names.map((name) => Buffer.from(name)).sort((a, b) => Buffer.compare(a, b));
  return names.map((name) => sorted.findIndex((other) => other.equals(Buffer.from(name))));
}

function checkArguments(tasks: readonly TaskSize[], options: PartitionOptions): void {
  const { nClients, dirichletAlpha, minFrac, seed } = options;
  const faults = [
    ...(Number.isInteger(nClients) && nClients >= 1
      ? []
      : [`n_clients must be an integer of 1 or more, not ${nClients}`]),
    ...(dirichletAlpha > 0 && dirichletAlpha < Infinity
      ? []
      : [`dirichlet_alpha must be above 0, not ${dirichletAlpha}`]),
    ...(minFrac >= 0 && minFrac <= 1 ? [] : [`min_frac must be from 0 to 1, not ${minFrac}`]),
    ...(Number.isSafeInteger(seed) && seed >= 0 ? [] : [`seed must be an integer of 0 or more, not ${seed}`]),
    ...(new Set(tasks.map((task) => task.name)).size === tasks.length ? [] : ['a task is listed twice']),
    ...tasks
      .filter((task) => !Number.isInteger(task.rows) || task.rows < 0 || task.rows >= 2 ** 31)
      .map((task) => `task ${task.name} must have from 0 to 2^31 - 1 rows, not ${task.rows}`),
  ];
  if (faults.length > 0) throw new FltacError('USAGE', `cannot partition: ${faults.join('; ')}`);
}

/** Header, one line per client (rows of each task, then their sum), and the totals. */
function tableCells(p: Partition, clientName: (client: number) => string): string[][] {
  const counts = p.rows.map((row) => row.map((part) => part.length));
  const totals = p.tasks.map((_, task) => counts.reduce((sum, row) => sum + row[task]!, 0));
  const line = (name: string, row: readonly number[]): string[] => [
    name,
    ...row.map(String),
    String(row.reduce((sum, count) => sum + count, 0)),
  ];
  return [
    ['client', ...p.tasks, 'total'],
    ...counts.map((row, client) => line(clientName(client), row)),
    line('total', totals),
  ];
}

/** The partition as text: names left, counts right, columns aligned; every line ends in a newline. */
export function formatPartitionTable(p: Partition): string {
  const cells = tableCells(p, (client) => `#${client}`);
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!);
  return cells.map((row) => `${row.map(pad).join('  ')}\n`).join('');
}

/** The same table as CSV (RFC 4180 quoting, newline at every line's end), clients numbered from 0. */
export function partitionCsv(p: Partition): string {
  const quote = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return tableCells(p, String)
    .map((row) => `${row.map(quote).join(',')}\n`)
    .join('');
}
