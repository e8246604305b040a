/** `fltac report`: runs' folders as one page to look at, and its pictures as files. */
import path from 'node:path';
import sharp from 'sharp';
import { FltacError, messageOf } from '../errors.js';
import { assertWritable, makeFolders, writeTextFile, writeWholeFile } from '../run/files.js';
import { plural } from '../run/log.js';
import { readBench, type Bench } from './benches.js';
import { benchFigure } from './figures/bench.js';
import { drawComparisons, drawPortraits, isAbsent, type Drawn, type Figure } from './figures/index.js';
import { renderPage, type Section } from './page.js';
import { LIGHT } from './palette.js';
import { standalone } from './standalone.js';
import { readRuns, type Run } from './runs.js';
import { differences, factTable, headline, isPartial, scoreTable, stateOf } from './summary.js';

export type FigureFormat = 'svg' | 'png';

export interface ReportOptions {
  /** files of `fltac bench kmeans` and `bench train`, drawn in a section of their own */
  bench?: readonly string[];
  /** where the page goes; default: report.html in the first run's folder */
  out?: string;
  /** a folder that takes every picture as a file of its own */
  figures?: string;
  /** of these files; default svg */
  format?: FigureFormat;
}

export interface ReportOutcome {
  /** absolute path of the page */
  page: string;
  bytes: number;
  runs: readonly { name: string; folder: string; state: string; headline: string }[];
  /** ids of what was drawn */
  figures: readonly string[];
  absent: readonly { figure: string; reason: string }[];
  /** absolute paths of the pictures' files */
  files: readonly string[];
}

/**
 * Draws the report of one or several runs, each followed by the baseline trained beside it.
 *
 * @throws FltacError USAGE for a folder that is no run's, has nothing to show yet, or does not go with the others; FORMAT
 *   naming the file and line that is broken; IO
 */
export async function writeReport(folders: readonly string[], options: ReportOptions = {}): Promise<ReportOutcome> {
  const runs = await readRuns(folders);
  const benches: Bench[] = [];
  for (const file of options.bench ?? []) benches.push(await readBench(file));
  const page = path.resolve(options.out ?? path.join(folders[0]!, 'report.html'));
  await assertWritable(page);
  if (options.figures !== undefined) await makeFigureFolder(options.figures);
  const { html, figures } = await drawReport(runs, benches);
  await writeTextFile(page, html);
  const drawn = figures.filter((figure): figure is Figure => !isAbsent(figure));
  const format = options.format ?? 'svg';
  return {
    page,
    bytes: Buffer.byteLength(html),
    runs: runs.map((run) => ({ name: run.name, folder: run.folder, state: stateOf(run), headline: headline(run) })),
    figures: drawn.map(({ id }) => id),
    absent: figures.flatMap((figure) => (isAbsent(figure) ? [{ figure: figure.id, reason: figure.reason }] : [])),
    files: options.figures === undefined ? [] : await writeFigures(drawn, path.resolve(options.figures), format),
  };
}

/** The page of runs that were read, and all its figures. */
export async function drawReport(
  runs: readonly Run[],
  benches: readonly Bench[] = [],
): Promise<{ html: string; figures: readonly Drawn[] }> {
  const speed = benches.map((bench, i) => benchFigure(bench, `bench-${i + 1}`));
  const together = drawComparisons(runs);
  const each: Drawn[][] = [];
  for (const [i, run] of runs.entries()) {
    const drawn = await drawPortraits(run, i + 1);
    const same = runs.slice(0, i).find((other) => sameSplit(other, run));
    each.push(same === undefined ? drawn : drawn.map((figure) => withoutSplit(figure, same)));
  }
  const first = runs[0]!;
  const differing = differences(runs);
  const sections: Section[] = [
    {
      id: 'summary',
      title: 'Summary',
      tables: [
        { title: 'Scores', table: scoreTable(runs), kind: 'scores' },
        { title: 'Runs', table: factTable(runs), kind: 'facts' },
        ...(differing === undefined
          ? []
          : [{ title: 'Settings that differ', table: differing, kind: 'facts' as const }]),
      ],
      figures: [],
    },
    { id: 'together', title: runs.length > 1 ? 'Runs side by side' : 'Scores and cost', figures: together },
    ...runs.map((run, i) => ({
      id: `run-${i + 1}`,
      title: runs.length > 1 ? `Clients and clusters: ${run.name}` : 'Clients and clusters',
      figures: each[i]!,
    })),
    ...(speed.length === 0 ? [] : [{ id: 'speed', title: 'Speed', figures: speed }]),
  ];
  const html = renderPage({
    title: `fltac: ${first.config.scenario}`,
    lead:
      `${plural(runs.length, 'run')} of ${plural(first.allocation.length, 'client')} on ${first.tasks.join(', ')}; ` +
      `backbone ${first.environment.model?.id ?? first.config.modelName}`,
    headlines: runs.map((run) => ({ name: run.name, text: headline(run), partial: isPartial(run) })),
    sections,
    footer:
      'Made by fltac report from the journals of the runs. Only complete rounds are shown. Accuracies stand beside the share ' +
      'of the most frequent label (majority floor) and the untuned backbone.',
  });
  return { html, figures: [...together, ...each.flat(), ...speed] };
}

function sameSplit(a: Run, b: Run): boolean {
  return JSON.stringify([a.tasks, a.allocation]) === JSON.stringify([b.tasks, b.allocation]);
}

function withoutSplit(figure: Drawn, { name }: Run): Drawn {
  const { id, title } = figure;
  return id.endsWith('-allocation') ? { id, title, reason: `the rows are split as in ${name}` } : figure;
}

async function makeFigureFolder(folder: string): Promise<void> {
  try {
    await makeFolders(folder);
  } catch (cause) {
    throw new FltacError('IO', `the folder of figures ${folder} cannot be made: ${messageOf(cause)}`, { cause });
  }
}

async function writeFigures(figures: readonly Figure[], folder: string, format: FigureFormat): Promise<string[]> {
  const files: string[] = [];
  for (const { id, svg } of figures) {
    const file = path.join(folder, `${id}.${format}`);
    await writeWholeFile(file, await encode(standalone(svg), format));
    files.push(file);
  }
  return files;
}

async function encode(svg: string, format: FigureFormat): Promise<Buffer> {
  if (format === 'svg') return Buffer.from(svg, 'utf8');
  // Twice the size on screen, for print.
  return sharp(Buffer.from(svg), { density: 192 }).flatten({ background: LIGHT.background }).png().toBuffer();
}
