import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exp, log, log1p, pow } from '../../../src/numpy/elementary/index.js';
import { fromHex } from '../../support/hex-float.js';
import { numpyFixture } from '../../support/numpy-fixtures.js';

type Name = 'log' | 'exp' | 'log1p' | 'pow';
const { cases } = numpyFixture('elementary.json') as { cases: Record<Name, Record<string, string[][]>> };
const functions: Record<Name, (...args: number[]) => number> = { log, exp, log1p, pow };
const kinds = Object.entries(cases).flatMap(([name, rows]) =>
  Object.keys(rows).map((kind) => [name as Name, kind] as const),
);

describe('the elementary functions', () => {
  it.each(kinds)('%s is correctly rounded: %s', (name, kind) => {
    const rows = cases[name][kind]!;
    expect(rows.length).toBeGreaterThanOrEqual(60);
    for (const row of rows) {
      const args = row.slice(0, -1).map(fromHex);
      expect([...args, functions[name](...args)]).toEqual(row.map(fromHex));
    }
  });

  const SMALLEST = 2 ** -1074;
  const special: [Name, number[], number][] = [
    ['log', [1], 0],
    ['log', [0], -Infinity],
    ['log', [-0], -Infinity],
    ['log', [-1], NaN],
    ['log', [Infinity], Infinity],
    ['log', [NaN], NaN],
    ['log', [SMALLEST], -744.4400719213812],
    ['exp', [0], 1],
    ['exp', [-0], 1],
    ['exp', [SMALLEST], 1],
    ['exp', [Infinity], Infinity],
    ['exp', [-Infinity], 0],
    ['exp', [NaN], NaN],
    ['exp', [709.782712893384], 1.7976931348622732e308],
    ['exp', [709.7827128933841], Infinity],
    ['exp', [-745.1332191019411], SMALLEST],
    ['exp', [-745.1332191019412], 0],
    ['log1p', [0], 0],
    ['log1p', [-0], -0],
    ['log1p', [SMALLEST], SMALLEST],
    ['log1p', [-1], -Infinity],
    ['log1p', [-2], NaN],
    ['log1p', [Infinity], Infinity],
    ['log1p', [NaN], NaN],
    ['pow', [0, 3], 0],
    ['pow', [0, -1], Infinity],
    ['pow', [0, 0], 1],
    ['pow', [3, 0], 1],
    ['pow', [NaN, 0], 1],
    ['pow', [1, Infinity], 1],
    ['pow', [1, NaN], 1],
    ['pow', [2, NaN], NaN],
    ['pow', [NaN, 2], NaN],
    ['pow', [0.5, Infinity], 0],
    ['pow', [0.5, -Infinity], Infinity],
    ['pow', [2, Infinity], Infinity],
    ['pow', [Infinity, 0.5], Infinity],
    ['pow', [Infinity, -1], 0],
    ['pow', [-2, 3], -8],
    ['pow', [-2, -2], 0.25],
    ['pow', [-8, 1 / 3], NaN],
    ['pow', [-Infinity, 3], -Infinity],
    ['pow', [3, 1e300], Infinity],
    ['pow', [3, -1e300], 0],
    ['pow', [0.3, 1e-300], 1],
    ['pow', [SMALLEST, 1], SMALLEST],
    ['pow', [SMALLEST, -0.5], 2 ** 537],
  ];
  it.each(special)('%s(%j) is %d', (name, args, expected) => {
    expect(functions[name](...args)).toBe(expected);
  });

  it('the first power of a number is that number', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (x) => {
        expect(pow(x, 1)).toBe(x);
      }),
    );
  });
});
