/** What a round says to the user besides its records. */
import type { Log } from '../run/log.js';
import type { LocalProgress } from './executor.js';
import type { RoundAssignment, RoundClients } from './outcome.js';
import type { Measure } from './outliers.js';

/** A function that warns of each message once. */
export function warnOnce(log: Log): (message: string) => void {
  const said = new Set<string>();
  return (message) => {
    if (said.has(message)) return;
    said.add(message);
    log.warn(message);
  };
}

/** Names clients whose training diverged, and a round whose results are too few. @param arrived clients whose results are there */
export function tellClients(
  log: Log,
  { failed, aggregated }: RoundClients,
  { round, arrived, minClients }: { round: number; arrived: number; minClients: number },
): void {
  for (const { client, reason } of failed) {
    log.warn(`client ${client} is left out of round ${round} and keeps its adapters: ${reason}`);
  }
  if (aggregated) return;
  log.warn(
    `round ${round}: results of ${arrived} clients arrived, min_clients is ${minClients}: ` +
      'nothing is averaged, and all clients keep what they held',
  );
}

/** `2 of 6 clients, loss 0.412`; the loss is that of the finished local fine-tunes. */
export function progressNote({ clients, loss }: LocalProgress, of: number): string {
  return `${clients} of ${of} clients${loss === null ? '' : `, loss ${loss.toFixed(3)}`}`;
}

const MEASURES: Readonly<Record<Measure, string>> = {
  update_norm: 'update norm',
  distance: 'distance to its cluster',
};

export function tellOutliers(log: Log, round: number, { outliers, clients, trueTasks }: RoundAssignment): void {
  if (outliers.length === 0) return;
  const told = outliers.map(
    ({ submission, measure, value, median }) =>
      `client ${clients[submission]!}'s ${trueTasks[submission]!} ` +
      `(${MEASURES[measure]} ${value.toPrecision(3)}, median ${median.toPrecision(3)})`,
  );
  log.info(`round ${round}: adapters that stand out: ${told.join(', ')}`);
}
