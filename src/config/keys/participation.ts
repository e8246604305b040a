/** Config keys: who takes part in a round. */
import { integer, number, oneOf, shareOrCount } from '../kinds.js';
import { FREE_KEY, KEY, rowsOf } from '../row.js';

const key = rowsOf('participation');

export const PARTICIPATION_KEYS = {
  participation: key({
    ...KEY,
    kind: shareOrCount(),
    default: 'all',
    meaning:
      'clients asked in a round, drawn anew each round from those with data: all, a share below 1, or their number; the ' +
      'others keep their adapters',
    alsoCalled: ['client_fraction', 'fraction_fit', 'clients_per_round', 'sample_clients'],
  }),
  dropout_clients: key({
    ...KEY,
    kind: number({ min: 0, below: 1 }),
    default: 0,
    meaning:
      'for studies: probability, in each round and for each client that was asked, that its result never arrives; it ' +
      'keeps its adapters',
    alsoCalled: ['client_dropout', 'dropout_rate', 'drop_clients'],
  }),
  straggler_clients: key({
    ...KEY,
    kind: number({ min: 0, max: 1 }),
    default: 0,
    meaning:
      'for studies: probability, likewise, that a client is slow and does only a part, drawn evenly from 0 to 1, of its ' +
      'local steps, one at least',
    alsoCalled: ['stragglers', 'straggler_rate'],
  }),
  min_clients: key({
    ...FREE_KEY,
    kind: integer({ min: 1 }),
    default: 1,
    meaning: 'fewest clients whose results make a round; with fewer nothing is averaged and all keep what they held',
    alsoCalled: ['min_available_clients', 'min_fit_clients'],
  }),
  on_client_failure: key({
    ...FREE_KEY,
    kind: oneOf(['stop', 'exclude']),
    default: 'stop',
    meaning:
      "whether a loss or adapter that is not finite ends the run, or leaves the client's results out of the round: it is " +
      'reported and keeps the adapters it had',
    alsoCalled: ['client_failure'],
  }),
};
