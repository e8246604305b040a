/** Checks what metrics.jsonl says was sent: bytes follow from the adapter's layout, the upload format and who took part. */
import type { AdapterLayout } from '../../engine/types.js';
import { Line } from '../../federation/communication.js';
import type { Plan } from '../../federation/plan.js';
import { arrivedAdapters, type Evidence, type Journals } from './evidence.js';
import { skipped, type Faults, type Finding } from './findings.js';

export function checkCommunication(
  run: Evidence,
  layout: AdapterLayout,
  plan: Plan,
  { metrics }: Journals,
  faults: Faults,
): Finding {
  const check = 'communication';
  const { config, method, aggregation } = run;
  const sends = method.grouping !== 'none';
  const line = new Line(layout, sends ? config.uploadFormat : 'float32', aggregation);
  let compared = 0;
  for (const lines of metrics.rounds) {
    const { round, clients, traffic } = lines;
    const arrived = sends ? arrivedAdapters(plan, run, lines) : [];
    const expected = line.traffic(arrived, clients?.aggregated ?? true);
    if (traffic.length !== expected.length) {
      faults.add(`round ${round}: ${traffic.length} communication records, not ${expected.length}`);
      continue;
    }
    for (const [i, { client, adapters, up, down }] of expected.entries()) {
      const told = traffic[i]!;
      compared += 1;
      if (told.client === client && told.adapters === adapters && told.up === up && told.down === down) continue;
      faults.add(
        `round ${round}: client ${told.client} sent ${told.adapters} adapters, ${told.up} bytes up and ${told.down} down, ` +
          `where client ${client} with ${adapters}, ${up} up and ${down} down are expected`,
      );
    }
  }
  if (!sends && !faults.any) return skipped(check, `method ${config.method} sends nothing`);
  if (compared === 0 && !faults.any) {
    return skipped(check, metrics.rounds.length === 0 ? 'no round is complete' : 'no client took part in a round');
  }
  return faults.finding(check, `${compared} records have the bytes of the adapters' layout in ${config.uploadFormat}`);
}
