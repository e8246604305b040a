/**
 * Who takes part in a round: a drawn selection of the clients, of which some may drop out and some be slow. All draws
 * are named by the round, so they depend on nothing that ran before it.
 */
import type { Method } from './methods.js';
import { streamGenerator } from './streams.js';

export interface ParticipationSettings {
  readonly seed: number;
  /** clients asked in a round: all of them, below 1 a share of them, from 1 on their number */
  readonly participation: number | 'all';
  /** probability that the result of a client that was asked never arrives */
  readonly dropoutClients: number;
  /** probability that a client does a part of its local steps only */
  readonly stragglerClients: number;
}

export interface Participants {
  /** clients that were asked, ascending */
  readonly selected: readonly number[];
  /** those of them whose result never arrives; nothing is trained for them */
  readonly dropped: readonly number[];
  /** of the slow ones among the others, by client: the share of its local steps that it does, above 0 */
  readonly stragglers: ReadonlyMap<number, number>;
}

/** Who takes part where all rows are in one place: there is nobody to be absent. */
const ONE_PLACE = { participation: 'all', dropoutClients: 0, stragglerClients: 0, minClients: 1 } as const;

type RoundSettings = ParticipationSettings & { readonly minClients: number };

/** The settings of participation that a method goes by. */
export function participationOf({ data }: Pick<Method, 'data'>, settings: RoundSettings): RoundSettings {
  return data === 'pooled' ? { ...ONE_PLACE, seed: settings.seed } : settings;
}

/**
 * Draws who takes part.
 *
 * @param clients those that hold data, ascending
 */
export function drawParticipants(
  settings: ParticipationSettings,
  clients: readonly number[],
  round: number,
): Participants {
  const { seed, dropoutClients, stragglerClients } = settings;
  const selected = select(settings, clients, round);
  const chance = (purpose: string, client: number) => streamGenerator(seed, purpose, round, client);
  const dropped = selected.filter((client) => chance('dropout_clients', client).random() < dropoutClients);
  const stragglers = new Map<number, number>();
  for (const client of selected) {
    if (dropped.includes(client)) continue;
    const generator = chance('straggler_clients', client);
    if (generator.random() < stragglerClients) stragglers.set(client, 1 - generator.random());
  }
  return { selected, dropped, stragglers };
}

function select(
  { seed, participation }: ParticipationSettings,
  clients: readonly number[],
  round: number,
): readonly number[] {
  const wanted = clientsAsked(participation, clients.length);
  if (wanted === clients.length) return clients;
  const order = streamGenerator(seed, 'participation', round).permutation(clients.length);
  return Array.from(order.subarray(0, wanted), (i) => clients[i]!).sort((a, b) => a - b);
}

/** How many of `clients` clients are asked in a round: at least one, as FedAvg's max(C K, 1). */
export function clientsAsked(participation: number | 'all', clients: number): number {
  if (participation === 'all') return clients;
  if (participation < 1) return Math.max(1, Math.round(participation * clients));
  return Math.min(participation, clients);
}

/** Local steps that a slow client does of `steps`: at least one. */
export function stepsDone(share: number | undefined, steps: number): number {
  return share === undefined ? steps : Math.max(1, Math.floor(share * steps));
}
