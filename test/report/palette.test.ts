import { describe, expect, it } from 'vitest';
import { DARK, LIGHT, SERIES, colourOf, symbolOf, viridis, withoutVariables } from '../../src/report/palette.js';

type Rgb = readonly [number, number, number];

/** Full dichromacies in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1. */
const VISIONS: Readonly<Record<string, readonly Rgb[]>> = {
  'normal vision': [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

function linear(hex: string): Rgb {
  const channel = (at: number) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [channel(1), channel(3), channel(5)];
}

function seen(rgb: Rgb, matrix: readonly Rgb[]): Rgb {
  const row = (r: number) => matrix[r]!.reduce((sum, weight, c) => sum + weight * rgb[c]!, 0);
  return [row(0), row(1), row(2)];
}

/** CIE L*a*b* under D65. */
function lab([r, g, b]: Rgb): Rgb {
  const f = (t: number) => (t > 216 / 24389 ? Math.cbrt(t) : (t * 24389) / 27 / 116 + 16 / 116);
  const x = f((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = f(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = f((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const luminance = ([r, g, b]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

function contrast(a: string, b: string): number {
  const [dark, light] = [luminance(linear(a)), luminance(linear(b))].sort((x, y) => x - y);
  return (light! + 0.05) / (dark! + 0.05);
}

describe.each([
  ['light', LIGHT],
  ['dark', DARK],
])('the %s palette', (_, theme) => {
  it.each(Object.entries(VISIONS))('keeps any two series apart under %s', (__, matrix) => {
    const colours = theme.series.map((hex) => lab(seen(linear(hex), matrix)));
    for (let i = 0; i < colours.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        const distance = Math.hypot(...colours[i]!.map((value, c) => value - colours[j]![c]!));
        // CIE76; about 2.3 is just noticeable
        expect(distance, `${theme.series[i]!} and ${theme.series[j]!}`).toBeGreaterThan(9);
      }
    }
  });

  it('has series that stand out from the background, and text that is easy to read', () => {
    for (const colour of theme.series) expect(contrast(colour, theme.background), colour).toBeGreaterThan(3);
    expect(contrast(theme.text, theme.background)).toBeGreaterThan(7);
    for (const ground of [theme.background, theme.panel]) {
      expect(contrast(theme.muted, ground)).toBeGreaterThan(4.5);
    }
  });
});

it('gives many tasks a pair of colour and symbol of their own', () => {
  const marks = Array.from({ length: 56 }, (_, i) => `${colourOf(i)} ${symbolOf(i)}`);
  expect(new Set(marks).size).toBe(56);
});

it('resolves every variable in a drawing that stands alone', () => {
  const drawing = Array.from({ length: SERIES }, (_, i) => `<g fill="${colourOf(i)}" stroke="currentColor"/>`).join('');
  expect(withoutVariables(drawing)).not.toMatch(/var\(|currentColor/);
  expect(withoutVariables('var(--background) var(--unknown)')).toBe('#ffffff var(--unknown)');
});

it('goes from dark to light in the colour map of distances', () => {
  expect([viridis(0), viridis(1), viridis(2)]).toEqual([
    [68, 1, 84],
    [253, 231, 37],
    [253, 231, 37],
  ]);
  const lightness = Array.from({ length: 50 }, (_, i) => viridis(i / 49)).map(([r, g, b]) => r + 2 * g + b / 2);
  expect(lightness).toEqual([...lightness].sort((a, b) => a - b));
});
