/** `fltac report` */
import { Option, type Command } from 'commander';
import type { FigureFormat, ReportOutcome } from '../../report/report.js';
import { FltacError } from '../../errors.js';
import { bytes } from '../../run/table.js';
import { printResult, type Format } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Examples:
  fltac report results/glue_fltac                                   writes results/glue_fltac/report.html
  fltac report results/glue_fltac results/glue_fedit results/glue_local --out compared.html
  fltac report results/glue_fltac --figures pictures --format png   every picture as a file, too

A baseline that was trained beside a run (baseline_method) is shown with it. Runs in progress are shown as far as they are.`;

interface Options {
  out?: string;
  figures?: string;
  format: FigureFormat;
  bench?: string[];
  json?: boolean;
}

export function addReport(program: Command, { io }: CommandContext): void {
  const command = program
    .command('report')
    .summary('draw runs as one HTML page')
    .description(
      'Draws one or several runs of a scenario as one HTML page that loads nothing: scores beside floors, curves, clients, ' +
        'clusters, adapters round by round, and what it cost.',
    )
    .usage('[options] <run...>')
    .argument('[run...]', "runs' folders")
    .option('--out <file>', "where the page goes (default: report.html in the first run's folder)")
    .option('--figures <folder>', 'write each picture there as a file, too')
    .addOption(new Option('--format <format>', 'of these files').choices(['svg', 'png']).default('svg'))
    .option('--bench <file...>', 'measurements of bench kmeans and bench train to draw, too')
    .option('--json', 'print what was drawn as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (folders: string[], { json, ...options }: Options) => {
      requireRuns(folders, options);
      if (options.figures === undefined && command.getOptionValueSource('format') === 'cli') {
        throw new FltacError('USAGE', '--format is of the files of --figures <folder>, which is not given');
      }
      const { writeReport } = await import('../../report/report.js');
      const outcome = await writeReport(folders, options);
      const format: Format = json === true ? 'json' : 'text';
      printResult(io, format, outcome, reportText);
    });
}

/** Commander would only say that an argument is missing, not where it went. */
function requireRuns(folders: readonly string[], { bench }: Options): void {
  if (folders.length > 0) return;
  const hint =
    bench === undefined
      ? ''
      : `: --bench takes every word after it (${bench.join(', ')}), so name runs first, as in fltac report <run> --bench <file>`;
  throw new FltacError('USAGE', `report needs one or more runs' folders${hint}`);
}

function reportText({ page, bytes: size, runs, absent, files }: ReportOutcome): string {
  const lines = runs.map(({ name, headline }) => `${name}: ${headline}`);
  const missing = absent.map(({ figure, reason }) => `not drawn: ${figure}, because ${reason}`);
  const pictures = files.length === 0 ? [] : [`${files.length} pictures beside ${files[0]!}`];
  return [...lines, ...missing, ...pictures, `${page} (${bytes(size)} bytes)`].join('\n');
}
