/**
 * The report's colours as CSS variables, so that one drawing serves light and dark; eight that stay apart with any kind
 * of colour blindness (test/report/palette.test.ts measures it). What has a colour also has a shape or a name.
 */

interface Theme {
  readonly background: string;
  readonly panel: string;
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  /** series 0, 1, ... */
  readonly series: readonly string[];
}

export const LIGHT: Theme = {
  background: '#ffffff',
  panel: '#f6f7f9',
  text: '#1c2127',
  muted: '#5c6670',
  line: '#d5dae0',
  series: ['#0051bf', '#d77a00', '#2b8154', '#921a7d', '#726216', '#029ed8', '#552236', '#8296a0'],
};

export const DARK: Theme = {
  background: '#14171b',
  panel: '#1d2126',
  text: '#e6e9ed',
  muted: '#9aa4af',
  line: '#39414a',
  series: ['#5aa7ea', '#f5935a', '#3fbf92', '#e37cc6', '#d8b13c', '#86daf5', '#c98a76', '#a5adb7'],
};

export const SERIES = LIGHT.series.length;

/** `fill` or `stroke` of the i-th task or run; -1 stands for none of them. */
export function colourOf(index: number): string {
  return `var(--series-${index < 0 ? SERIES - 1 : index % SERIES})`;
}

/** Plot's names of filled symbols; with eight colours they make 56 different marks. */
const SYMBOLS = ['circle', 'square', 'triangle', 'diamond', 'star', 'wye', 'cross'] as const;

export type SymbolName = (typeof SYMBOLS)[number];

export function symbolOf(index: number): SymbolName {
  return index < 0 ? 'circle' : SYMBOLS[index % SYMBOLS.length]!;
}

const DASHES = ['none', '6 3', '2 3', '8 3 2 3'] as const;

export function dashOf(index: number): string {
  return DASHES[index % DASHES.length]!;
}

/** CSS declarations of a theme's variables. */
export function cssVariables(theme: Theme): string {
  return Object.entries(variablesOf(theme))
    .map(([name, value]) => `--${name}:${value}`)
    .join(';');
}

/** A drawing with the light theme's values in place of variables, for files that stand alone. */
export function withoutVariables(svg: string): string {
  const values = variablesOf(LIGHT);
  return svg
    .replaceAll(/var\(--([a-z0-9-]+)\)/g, (whole, name: string) => values[name] ?? whole)
    .replaceAll('currentColor', LIGHT.text);
}

function variablesOf({ series, ...plain }: Theme): Record<string, string> {
  return { ...plain, ...Object.fromEntries(series.map((colour, i) => [`series-${i}`, colour])) };
}

/** Anchors of the colour map "viridis" (van der Walt and Smith, 2015), dark for small values. */
const VIRIDIS: readonly (readonly [number, number, number])[] = [
  [68, 1, 84],
  [72, 40, 120],
  [62, 74, 137],
  [49, 104, 142],
  [38, 130, 142],
  [31, 158, 137],
  [53, 183, 121],
  [109, 205, 89],
  [180, 222, 44],
  [253, 231, 37],
];

/** Red, green and blue, 0 to 255, of a value in [0, 1]. */
export function viridis(value: number): [number, number, number] {
  const place = Math.min(1, Math.max(0, value)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(place));
  const mix = (channel: 0 | 1 | 2) =>
    Math.round(VIRIDIS[low]![channel] + (place - low) * (VIRIDIS[low + 1]![channel] - VIRIDIS[low]![channel]));
  return [mix(0), mix(1), mix(2)];
}
