/** The rows that the training benchmark trains on. */
import type { ScenarioTask } from '../data/scenario.js';
import { asSequences } from '../engine/examples.js';
import { drawBatches, streamGenerator } from '../federation/streams.js';
import type { StepRows } from './train-job.js';

export interface WorkShape {
  adapters: number;
  steps: number;
  batchSize: number;
  seed: number;
}

/**
 * Steps of each adapter, every step of one task: step s of all is of task s modulo their number, so that the tasks have
 * equal parts. A task's rows are drawn as in a local fine-tune of a client that holds all of them.
 */
export async function drawSteps(tasks: readonly ScenarioTask[], shape: WorkShape): Promise<StepRows[][]> {
  const total = shape.adapters * shape.steps;
  const ofTasks: StepRows[][] = [];
  for (const [index, task] of tasks.entries()) {
    const count = Math.ceil((total - index) / tasks.length);
    ofTasks.push(await drawTask(task, Math.max(0, count), shape));
  }
  const all = Array.from({ length: total }, (_, s) => ofTasks[s % tasks.length]![Math.floor(s / tasks.length)]!);
  return Array.from({ length: shape.adapters }, (_, a) => all.slice(a * shape.steps, (a + 1) * shape.steps));
}

async function drawTask(task: ScenarioTask, steps: number, { batchSize, seed }: WorkShape): Promise<StepRows[]> {
  const rows = Int32Array.from({ length: task.trainRows }, (_, row) => row);
  const { order, batches } = drawBatches(rows, steps, batchSize, streamGenerator(seed, 'bench', task.name));
  const { ids, offsets, typeIds, labels } = asSequences(await task.trainExamples(order));
  const cut = (values: Int32Array | Uint8Array, row: number) => [...values.subarray(offsets[row], offsets[row + 1])];
  return Array.from({ length: steps }, (_, s): StepRows => {
    const places = Array.from({ length: batches[s + 1]! - batches[s]! }, (_, i) => batches[s]! + i);
    return {
      ids: places.map((row) => cut(ids, row)),
      types: typeIds === undefined ? [] : places.map((row) => cut(typeIds, row)),
      labels: places.map((row) => labels[row]!),
    };
  });
}
