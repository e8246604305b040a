import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AGGREGATIONS } from '../../src/federation/aggregation.js';
import { Line, UPLOAD_FORMATS, type UploadFormatName } from '../../src/federation/communication.js';
import { FAKE_LAYOUT, FakeBank } from '../support/fake-engine.js';

const LOSSY = ['bfloat16', 'int8'] as const;

const submission = (row: number, client = row) => ({ client, slot: 0, row, samples: 1 });

function arrived(format: UploadFormatName, values: readonly number[]): number[] {
  const kept = Float32Array.from(values);
  UPLOAD_FORMATS[format].roundTrip?.(kept);
  return [...kept];
}

describe('upload formats', () => {
  it('bfloat16 rounds to the nearest of eight significant bits, ties to even', () => {
    const step = 2 ** -7;
    expect(arrived('bfloat16', [1, -1, 1 + 0.6 * step, 1 + step / 2, 1 + 1.5 * step, 0])).toEqual([
      ...[1, -1, 1 + step, 1, 1 + 2 * step, 0],
    ]);
  });

  it('int8 rounds to 127ths of the largest magnitude of the tensor', () => {
    expect(arrived('int8', [127, -127, 1.4, -1.6, 0])).toEqual([127, -127, 1, -2, 0]);
    expect(arrived('int8', [0, 0])).toEqual([0, 0]);
  });

  it('are off by no more than half a step', () => {
    const values = fc.array(fc.float({ min: -1000, max: 1000, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(values, (given) => {
        const most = Math.max(...given.map(Math.abs));
        arrived('int8', given).forEach((value, i) => {
          expect(Math.abs(value - Math.fround(given[i]!))).toBeLessThanOrEqual((most / 254) * (1 + 1e-5) + 1e-40);
        });
        arrived('bfloat16', given).forEach((value, i) => {
          expect(Math.abs(value - Math.fround(given[i]!))).toBeLessThanOrEqual(Math.abs(given[i]!) / 256 + 1e-40);
        });
      }),
    );
  });

  it.each([
    ['float32', 40],
    ['bfloat16', 20],
    ['int8', 10 + 4 * 4],
  ] as const)('%s sends an adapter of ten values in four tensors in %i bytes', (format, bytes) => {
    expect(new Line(FAKE_LAYOUT, format, AGGREGATIONS.mean).bytesUp).toBe(bytes);
  });

  it('send only what the aggregation shares: A [1, 2], B [2, 1], head of six', () => {
    expect(new Line(FAKE_LAYOUT, 'float32', AGGREGATIONS.ffa).bytesUp).toBe(4 * 8);
    expect(new Line(FAKE_LAYOUT, 'int8', AGGREGATIONS.fedsa).bytesUp).toBe(8 + 3 * 4);
    expect(new Line(FAKE_LAYOUT, 'int8', AGGREGATIONS.fedsa).bytesDown).toBe(4 * 8);
  });
});

describe('the line', () => {
  it('leaves float32 adapters as they are', () => {
    const bank = new FakeBank(1);
    const line = new Line(FAKE_LAYOUT, 'float32', AGGREGATIONS.mean);
    line.begin(bank, [0]);
    bank.set(0, new Float32Array(10).fill(1 / 3));
    line.send(bank, [submission(0)]);
    expect(bank.get(0)).toEqual(new Float32Array(10).fill(1 / 3));
  });

  it('sends the change, so that a small one beside large values arrives', () => {
    const bank = new FakeBank(1);
    bank.set(0, new Float32Array(10).fill(100));
    const line = new Line(FAKE_LAYOUT, 'int8', AGGREGATIONS.mean);
    line.begin(bank, [0]);
    bank.set(0, new Float32Array(10).fill(100.01));
    line.send(bank, [submission(0)]);
    bank.get(0).forEach((value) => expect(value).toBeCloseTo(100.01, 4));
  });

  it('leaves tensors that stay with the client as they are', () => {
    const bank = new FakeBank(1);
    const line = new Line(FAKE_LAYOUT, 'int8', AGGREGATIONS.fedsa);
    line.begin(bank, [0]);
    const trained = Float32Array.from({ length: 10 }, (_, i) => 0.1234567 * (i + 1));
    bank.set(0, trained);
    line.send(bank, [submission(0)]);
    expect(bank.get(0).subarray(2, 4)).toEqual(trained.subarray(2, 4));
    expect(bank.get(0).subarray(6)).not.toEqual(trained.subarray(6));
  });

  it.each(LOSSY)(
    '%s: what rounding takes away arrives later: the sum of what arrived follows the sum of changes',
    (format) => {
      fc.assert(
        fc.property(
          fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 10, maxLength: 200 }),
          (changes) => {
            const bank = new FakeBank(1);
            const line = new Line(FAKE_LAYOUT, format, AGGREGATIONS.mean);
            let wanted = 0;
            let got = 0;
            changes.forEach((change) => {
              const before = bank.get(0);
              line.begin(bank, [0]);
              // The other values of the tensor make its scale, so that this one is rounded coarsely.
              bank.set(
                0,
                before.map((x, i) => (i === 6 ? x + change : x + (i === 9 ? 1 : 0))),
              );
              line.send(bank, [submission(0)]);
              wanted += Math.fround(Math.fround(before[6]! + change) - before[6]!);
              got += bank.get(0)[6]! - before[6]!;
            });
            const open = line.residuals(1)[0]![6]!;
            expect(Math.abs(got + open - wanted)).toBeLessThanOrEqual(1e-4 * changes.length);
            expect(Math.abs(open)).toBeLessThanOrEqual(format === 'int8' ? 2.1 / 254 + 1e-6 : 2 / 256);
          },
        ),
      );
    },
  );

  it('goes on alike after its residuals were saved and restored', () => {
    const make = () => new Line(FAKE_LAYOUT, 'int8', AGGREGATIONS.mean);
    const bank = new FakeBank(2);
    const step = (line: Line, by: number) => {
      line.begin(bank, [0, 1]);
      for (const row of [0, 1])
        bank.set(
          row,
          bank.get(row).map((x, i) => x + by * Math.sin(i + row)),
        );
      line.send(bank, [submission(0), submission(1)]);
      return [bank.get(0), bank.get(1)];
    };
    const first = make();
    step(first, 1);
    const saved = { residuals: first.residuals(2), rows: [bank.get(0), bank.get(1)] };
    const expected = step(first, 0.3);
    const second = make();
    second.restore(saved.residuals, 2);
    saved.rows.forEach((row, i) => bank.set(i, row));
    expect(step(second, 0.3)).toEqual(expected);
    expect(() => make().restore([], 2)).toThrow(/0 upload residuals .* has 2 of 10 values/);
    expect(() => new Line(FAKE_LAYOUT, 'float32', AGGREGATIONS.mean).restore(saved.residuals, 2)).toThrow(
      /has 0 of 10/,
    );
  });

  it('counts the bytes of each client both ways, and none down where nothing came back', () => {
    const line = new Line(FAKE_LAYOUT, 'int8', AGGREGATIONS.mean);
    const sent = [submission(0, 4), submission(1, 4), submission(2, 1)];
    expect(line.traffic(sent, true)).toEqual([
      { client: 1, adapters: 1, up: 26, down: 40 },
      { client: 4, adapters: 2, up: 52, down: 80 },
    ]);
    expect(line.traffic(sent, false).map(({ down }) => down)).toEqual([0, 0]);
  });
});
