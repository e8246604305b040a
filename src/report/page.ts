/** The report as one HTML page that loads nothing: style, script, pictures and data are in it. */
import { createHash } from 'node:crypto';
import { escape } from './escape.js';
import { colourOf } from './palette.js';
import { isAbsent, type Drawn, type Figure, type Table } from './figures/index.js';
import { SCRIPT } from './page-script.js';
import { STYLE } from './page-style.js';

export interface Page {
  readonly title: string;
  readonly lead: string;
  readonly headlines: readonly { name: string; text: string; partial: boolean }[];
  readonly sections: readonly Section[];
  readonly footer: string;
}

export interface Section {
  readonly id: string;
  readonly title: string;
  readonly tables?: readonly { title: string; table: Table; kind: 'scores' | 'facts' }[];
  readonly figures: readonly Drawn[];
}

/** The whole page. Texts are escaped here; pictures come as SVG. */
export function renderPage({ title, lead, headlines, sections, footer }: Page): string {
  // The policy lets the page's own script and style run and nothing be loaded, whatever stands in the data.
  const policy = `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-${hash(SCRIPT)}'`;
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}</style>`,
    '</head>',
    '<body>',
    `<header><div><h1>${escape(title)}</h1><p class="muted">${escape(lead)}</p>${navigation(sections)}</div>`,
    '<button type="button" id="theme">Light / dark</button></header>',
    '<main>',
    ...headlines.map(
      ({ name, text, partial }, i) =>
        `<p class="headline${partial ? ' partial' : ''}" style="--accent:${colourOf(i)}"><strong>${escape(name)}</strong> ${escape(text)}</p>`,
    ),
    ...sections.map(sectionHtml),
    '</main>',
    `<footer>${escape(footer)}</footer>`,
    '<div id="tip" role="status"></div>',
    `<script>${SCRIPT}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

function navigation(sections: readonly Section[]): string {
  return `<nav aria-label="Sections">${sections.map(({ id, title }) => `<a href="#${id}">${escape(title)}</a>`).join(' ')}</nav>`;
}

function sectionHtml({ id, title, tables = [], figures }: Section): string {
  return [
    `<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${escape(title)}</h2>`,
    ...tables.map(({ title: name, table, kind }) => `<h3>${escape(name)}</h3>${tableHtml(table, kind)}`),
    ...(figures.length === 0 ? [] : ['<div class="grid">', ...figures.map(drawnHtml), '</div>']),
    '</section>',
  ].join('\n');
}

function drawnHtml(drawn: Drawn): string {
  if (!isAbsent(drawn)) return figureHtml(drawn);
  const { id, title, reason } = drawn;
  return `<div class="absent" id="${id}"><h3>${escape(title)}</h3><p class="muted">Not drawn: ${escape(reason)}.</p></div>`;
}

function figureHtml({ id, title, caption, svg, frames = [], table }: Figure): string {
  const moving = frames.length > 1;
  const slider =
    '<div class="slider" hidden><button type="button">Play</button>' +
    `<input type="range" min="0" step="1" aria-label="Round of ${escape(title)}"><output></output></div>`;
  return [
    `<figure id="${id}"${moving ? ' data-frames' : ''}><h3>${escape(title)}</h3>`,
    ...(moving ? [slider] : []),
    `<div class="picture live">${moving ? frames.at(-1)!.svg : svg}</div>`,
    ...(moving && svg !== frames.at(-1)!.svg ? [`<div class="picture still">${svg}</div>`] : []),
    ...(moving ? [`<script type="application/json">${scriptJson(frames)}</script>`] : []),
    `<figcaption>${escape(caption)}</figcaption>`,
    ...(table === undefined ? [] : [`<details><summary>As a table</summary>${tableHtml(table, 'scores')}</details>`]),
    '</figure>',
  ].join('\n');
}

function tableHtml({ head, rows }: Table, kind: 'scores' | 'facts'): string {
  const cells = (row: readonly string[], tag: string, scope: string) =>
    row
      .map(
        (cell, i) =>
          `<${i === 0 && tag === 'td' ? 'th scope="row"' : `${tag}${scope}`}>${escape(cell)}</${i === 0 && tag === 'td' ? 'th' : tag}>`,
      )
      .join('');
  const body = rows.map((row) => `<tr>${cells(row, 'td', '')}</tr>`).join('');
  return `<div class="scroll"><table class="${kind}"><thead><tr>${cells(head, 'th', ' scope="col"')}</tr></thead><tbody>${body}</tbody></table></div>`;
}

/** JSON that cannot end the element that it stands in. */
function scriptJson(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

function hash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('base64');
}
