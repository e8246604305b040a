/** Observable Plot without a browser: a plot as SVG text, with its legend drawn inside it. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { escape } from './escape.js';
import type { SymbolName } from './palette.js';

export { Plot };

export interface LegendEntry {
  label: string;
  colour: string;
  /** a symbol, or a line with this dash */
  symbol?: SymbolName;
  dash?: string;
  hollow?: boolean;
}

export interface DrawOptions extends Plot.PlotOptions {
  width: number;
  legend?: readonly LegendEntry[];
  /** what the picture says, for those who do not see it */
  alt: string;
}

const FONT_SIZE = 12;
const LEGEND_LINE = 20;
/** Mean width of a letter of the font; legends need no more exact one. */
const LETTER = 6.7;
const MARK_WIDTH = 26;

/** Draws a plot. Colours may be CSS variables; text takes `currentColor`. */
export function draw({ legend = [], alt, ...options }: DrawOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>') as unknown as { document: object };
  const lines = layOut(legend, options.width - 16);
  const room = lines.length * LEGEND_LINE;
  const marginTop = (options.marginTop ?? 28) + room;
  const svg = Plot.plot({
    ...options,
    document: document as never,
    marginTop,
    ...(options.height === undefined ? {} : { height: options.height + room }),
    marks: [...(options.marks ?? []), ...legendMarks(lines, marginTop, options.marginLeft ?? options.margin ?? 40)],
    style: { fontSize: `${FONT_SIZE}px`, background: 'transparent', overflow: 'visible' },
  }) as unknown as Element;
  svg.setAttribute('role', 'img');
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  // Not to be drawn larger than its letters are meant to be.
  const style = svg.getAttribute('style') ?? '';
  svg.setAttribute('style', `${style}${style === '' || style.endsWith(';') ? '' : ';'}max-width:${options.width}px`);
  return shorter(svg.outerHTML).replace('<svg ', `<svg aria-label="${escape(alt)}" `);
}

/** The part of the DOM that is used here. */
interface Element {
  outerHTML: string;
  getAttribute(name: string): string | null;
  setAttribute(name: string, value: string): void;
}

interface Placed extends LegendEntry {
  x: number;
}

function layOut(legend: readonly LegendEntry[], width: number): Placed[][] {
  const lines: Placed[][] = [];
  let x = Infinity;
  for (const entry of legend) {
    const needed = MARK_WIDTH + entry.label.length * LETTER + 14;
    if (x + needed > width) {
      lines.push([]);
      x = 0;
    }
    lines.at(-1)!.push({ ...entry, x });
    x += needed;
  }
  return lines;
}

function legendMarks(lines: readonly Placed[][], marginTop: number, marginLeft: number): Plot.Markish[] {
  return lines.flatMap((line, row) =>
    line.flatMap(({ label, colour, symbol, dash, hollow, x }) => {
      const at = {
        frameAnchor: 'top-left',
        facet: 'super',
        dx: x + 8 - marginLeft + MARK_WIDTH / 2,
        dy: row * LEGEND_LINE + 12 - marginTop,
      } as const;
      const paint = hollow === true ? { stroke: colour, strokeWidth: 1.8 } : { fill: colour };
      const mark =
        symbol === undefined
          ? Plot.text(['━━'], { ...at, text: (d: string) => (dash === 'none' ? d : '╍╍'), fontSize: 9, fill: colour })
          : Plot.dot([label], { ...at, symbol, r: 5, ...paint });
      const name = Plot.text([label], {
        ...at,
        dx: at.dx + MARK_WIDTH / 2,
        text: (d: string) => d,
        textAnchor: 'start',
      });
      return [mark, name];
    }),
  );
}

/** Hundredths of a pixel are enough, and keep the page small; texts stay as they are. */
function shorter(svg: string): string {
  const round = (number: string) => String(Math.round(Number(number) * 100) / 100);
  return svg.replaceAll(/="[^"]*"/g, (attribute) => attribute.replaceAll(/-?\d+\.\d{3,}/g, round));
}
