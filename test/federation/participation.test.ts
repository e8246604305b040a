import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clientsAsked, drawParticipants, stepsDone } from '../../src/federation/participation.js';

const ALL = { seed: 42, participation: 'all', dropoutClients: 0, stragglerClients: 0 } as const;
const CLIENTS = [0, 1, 2, 4, 5, 7, 8, 9];

describe('who takes part', () => {
  it('is everyone by default', () => {
    const { selected, dropped, stragglers } = drawParticipants(ALL, CLIENTS, 1);
    expect([selected, dropped, [...stragglers]]).toEqual([CLIENTS, [], []]);
  });

  it.each([
    ['all', 8, 8],
    [0.5, 8, 4],
    [0.3, 8, 2],
    [0.01, 8, 1],
    [0.99, 8, 8],
    [3, 8, 3],
    [1, 8, 1],
    [20, 8, 8],
  ] as const)('participation %s of %i clients asks %i', (participation, clients, asked) => {
    expect(clientsAsked(participation, clients)).toBe(asked);
  });

  it('is a subset of those with data, ascending, and of the dropped none is slow', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          participation: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.double({ min: 0.01, max: 0.99, noNaN: true })),
          dropoutClients: fc.double({ min: 0, max: 0.99, noNaN: true }),
          stragglerClients: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        fc.integer({ min: 1, max: 1000 }),
        (settings, round) => {
          const { selected, dropped, stragglers } = drawParticipants(settings, CLIENTS, round);
          expect(selected).toHaveLength(clientsAsked(settings.participation, CLIENTS.length));
          expect(selected).toEqual(CLIENTS.filter((client) => selected.includes(client)));
          expect(dropped).toEqual(selected.filter((client) => dropped.includes(client)));
          for (const [client, share] of stragglers) {
            expect(selected).toContain(client);
            expect(dropped).not.toContain(client);
            expect(share).toBeGreaterThan(0);
            expect(share).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
  });

  it('depends on the seed and the round alone, and differs between rounds', () => {
    const settings = { ...ALL, participation: 3 };
    const draw = (round: number, seed = 42) => drawParticipants({ ...settings, seed }, CLIENTS, round).selected;
    expect(draw(5)).toEqual(draw(5));
    const rounds = Array.from({ length: 20 }, (_, i) => draw(i + 1).join());
    expect(new Set(rounds).size).toBeGreaterThan(10);
    expect(rounds).not.toEqual(Array.from({ length: 20 }, (_, i) => draw(i + 1, 43).join()));
  });

  it('drops out and is slow as often as asked for, over many rounds', () => {
    const settings = { ...ALL, dropoutClients: 0.25, stragglerClients: 0.5 };
    let dropped = 0;
    let slow = 0;
    for (let round = 1; round <= 250; round += 1) {
      const drawn = drawParticipants(settings, CLIENTS, round);
      dropped += drawn.dropped.length;
      slow += drawn.stragglers.size;
    }
    // Of 2,000 draws; four standard deviations are 78 and 78 (of the 1,500 that arrive).
    expect(Math.abs(dropped - 500)).toBeLessThan(78);
    expect(Math.abs(slow - (2000 - dropped) / 2)).toBeLessThan(78);
  });

  it('a slow client does a share of its steps, one at least', () => {
    expect([undefined, 1, 0.5, 0.49, 0.001].map((share) => stepsDone(share, 12))).toEqual([12, 12, 6, 5, 1]);
  });
});
