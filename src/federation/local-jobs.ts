/** The local work of a round: which adapters are trained, on which rows, for how many steps. */
import type { ScenarioTask } from '../data/scenario.js';
import type { LocalJob } from './executor.js';
import { stepsPerTask, type Method, type StepSettings } from './methods.js';
import { stepsDone, type Participants } from './participation.js';
import type { Plan } from './plan.js';

export interface LocalJobsOptions {
  plan: Plan;
  method: Method;
  /** in listed order */
  tasks: readonly ScenarioTask[];
  /** rows[client][task] = training rows */
  rows: readonly (readonly Int32Array[])[];
  settings: StepSettings;
}

/** The jobs of the clients that were asked and whose results arrive, in submission order. */
export function localJobs(
  { plan, method, tasks, rows, settings }: LocalJobsOptions,
  { selected, dropped, stragglers }: Participants,
): LocalJob[] {
  const clients = new Set(selected.filter((client) => !dropped.includes(client)));
  // Pooled rows are those of all clients, in one place.
  const rowsOf = (client: number, task: number) =>
    method.data === 'clients' ? rows[client]![task]! : Int32Array.from(rows.flatMap((own) => [...own[task]!]));
  return plan.adapters
    .filter(({ client }) => clients.has(client))
    .map(({ client, slot, row, samples, parts }): LocalJob => {
      const steps = (holders: number) => stepsPerTask(method, settings, { tasks: parts.length, holders });
      return {
        client,
        slot,
        row,
        samples,
        parts: parts.map(({ task, holders }) => ({
          task: tasks[task]!,
          rows: rowsOf(client, task),
          steps: stepsDone(stragglers.get(client), steps(holders)),
        })),
      };
    });
}
