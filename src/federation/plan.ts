/**
 * Which adapters exist in a run, who holds them, and what each is trained on. This is the clients' side: it knows the
 * tasks. The server sees only `Submission`s, which carry a client and a slot.
 */
import { FltacError } from '../errors.js';
import type { DataPlace, Keeping } from './methods.js';
import { streamGenerator } from './streams.js';

/** One task's share of an adapter's training data. */
export interface AdapterPart {
  /** index into Plan.tasks */
  readonly task: number;
  /** training rows that the client holds for it */
  readonly samples: number;
  /** clients that the rows are of; 1 unless they are pooled */
  readonly holders: number;
}

/** One adapter of one client. */
export interface PlannedAdapter {
  readonly client: number;
  /** the client's own number for this adapter, shuffled so that it says nothing of the task */
  readonly slot: number;
  /** bank row; ordered by client and slot */
  readonly row: number;
  /** tasks in the order the client trains them */
  readonly parts: readonly AdapterPart[];
  /** sum over `parts` */
  readonly samples: number;
}

export interface Plan {
  /** task names in listed order */
  readonly tasks: readonly string[];
  readonly nClients: number;
  /** in submission order: by client, then by listed task */
  readonly adapters: readonly PlannedAdapter[];
  /** bank rows that the adapters need */
  readonly rows: number;
}

export interface PlanOptions {
  adapters: Keeping;
  /** default: clients */
  data?: DataPlace;
  /** task names in listed order */
  tasks: readonly string[];
  /** counts[client][task] = training rows */
  counts: readonly (readonly number[])[];
  seed: number;
}

/**
 * Plans the adapters of a run.
 *
 * A client's slots are a permutation of its adapters drawn once from (seed, "slots", client): with slots in task order
 * any clustering that starts from them would know the truth. Where adapters are not trained (`none`) all share row 0.
 * Pooled rows are those of a single client, number 0.
 *
 * @throws FltacError USAGE when no client holds any row
 */
export function planAdapters(options: PlanOptions): Plan {
  const { tasks } = options;
  const clients = HELD[options.data ?? 'clients'](options.counts);
  const adapters: PlannedAdapter[] = [];
  clients.forEach((held, client) => {
    const groups = PARTS[options.adapters](held, tasks);
    const slots = streamGenerator(options.seed, 'slots', client).permutation(groups.length);
    const base = adapters.length;
    groups.forEach((parts, i) => {
      const slot = slots[i]!;
      const samples = parts.reduce((sum, part) => sum + part.samples, 0);
      adapters.push({ client, slot, row: options.adapters === 'none' ? 0 : base + slot, parts, samples });
    });
  });
  if (adapters.length === 0) {
    throw new FltacError('USAGE', 'no client holds any training row: the tasks are empty, or there are no tasks');
  }
  return { tasks, nClients: clients.length, adapters, rows: options.adapters === 'none' ? 1 : adapters.length };
}

type Counts = readonly (readonly number[])[];

/** What each client holds, tasks without rows left out. */
const HELD: Readonly<Record<DataPlace, (counts: Counts) => AdapterPart[][]>> = {
  clients: (counts) =>
    counts.map((row) => row.flatMap((samples, task) => (samples > 0 ? [{ task, samples, holders: 1 }] : []))),
  pooled: (counts) => {
    const column = (task: number) => counts.flatMap((row) => (row[task]! > 0 ? [row[task]!] : []));
    const parts = (counts[0] ?? []).map((_, task): AdapterPart => {
      const held = column(task);
      return { task, samples: held.reduce((sum, n) => sum + n, 0), holders: held.length };
    });
    return [parts.filter((part) => part.samples > 0)];
  },
};

const perTask = (held: readonly AdapterPart[]): readonly (readonly AdapterPart[])[] => held.map((part) => [part]);

const PARTS: Readonly<
  Record<Keeping, (held: readonly AdapterPart[], tasks: readonly string[]) => readonly (readonly AdapterPart[])[]>
> = {
  per_task: perTask,
  // The published FedIT visits a client's tasks in alphabetical order, whatever their listed order.
  shared: (held, tasks) =>
    held.length === 0 ? [] : [[...held].sort((a, b) => byteOrder(tasks[a.task]!, tasks[b.task]!))],
  none: perTask,
};

function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What an adapter was truly trained on: its task's name, or several joined by `+`. For scoring and records only. */
export function trueTask(plan: Plan, adapter: PlannedAdapter): string {
  return adapter.parts.map((part) => plan.tasks[part.task]!).join('+');
}
