/** The rank study as a table and as a picture. */
import { METRICS } from '../federation/metrics.js';
import { meanOf } from '../report/facts.js';
import { colourOf, symbolOf } from '../report/palette.js';
import { Plot, draw } from '../report/plot.js';
import { bytes, formatTable, score, type TableStyle } from '../run/table.js';
import { SHARINGS, type RankStudy, type Sharing } from './rank.js';

interface Summary {
  sharing: Sharing;
  rank: number;
  values: number;
  mean: number;
  /** standard deviation over seeds (n - 1); null for one seed */
  deviation: number | null;
}

function summarise(study: RankStudy): Summary[] {
  return SHARINGS.flatMap((sharing) =>
    study.ranks.map((rank) => {
      const own = study.points.filter((point) => point.sharing === sharing && point.rank === rank);
      const means = own.map(({ mean }) => mean);
      const mean = meanOf(means);
      const squares = means.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      const deviation = means.length > 1 ? Math.sqrt(squares / (means.length - 1)) : null;
      return { sharing, rank, values: own[0]!.values, mean, deviation };
    }),
  );
}

export function rankText(study: RankStudy, style: TableStyle): string {
  const rows = summarise(study).map(({ sharing, rank, values, mean, deviation }) => [
    sharing,
    String(rank),
    bytes(values),
    score(mean),
    score(deviation),
  ]);
  const { title, lowerIsBetter } = METRICS[study.metric];
  const head = ['adapters', 'rank', 'trained values', `mean ${title}`, 'sd over seeds'];
  const floors = study.floors.filter((floor) => floor !== null);
  const beside = [
    `untuned backbone ${score(meanOf(study.untuned))}`,
    ...(floors.length === study.tasks.length ? [`majority floor ${score(meanOf(floors))}`] : []),
    ...(lowerIsBetter ? ['lower is better'] : []),
  ];
  return `${formatTable(head, rows, style)}\n\nmean over ${study.tasks.join(', ')}; ${beside.join('; ')}\n`;
}

/** Mean score by rank, one line a sharing, bars of one standard deviation over seeds. */
export function rankFigure(study: RankStudy): string {
  const summary = summarise(study).map((entry) => ({
    ...entry,
    low: entry.mean - (entry.deviation ?? 0),
    high: entry.mean + (entry.deviation ?? 0),
  }));
  const { title } = METRICS[study.metric];
  return draw({
    alt: `Mean ${title} by rank: ${summary.map(({ sharing, rank, mean }) => `${sharing} rank ${rank} ${score(mean)}`).join(', ')}`,
    width: 640,
    height: 340,
    marginTop: 20,
    marginBottom: 42,
    marginLeft: 50,
    legend: [
      ...SHARINGS.map((sharing, i) => ({
        label: `${sharing} adapter${i === 0 ? '' : 's'}`,
        colour: colourOf(i),
        symbol: symbolOf(i),
      })),
      { label: 'untuned backbone', colour: 'var(--muted)', dash: '4 4' },
    ],
    x: { type: 'point', domain: [...study.ranks], label: 'rank', padding: 0.5 },
    y: { label: null, grid: true },
    marks: [
      Plot.ruleY([meanOf(study.untuned)], { stroke: 'var(--muted)', strokeDasharray: '4 4' }),
      ...SHARINGS.flatMap((sharing, i) => {
        const own = summary.filter((entry) => entry.sharing === sharing);
        return [
          Plot.ruleX(own, { x: 'rank', y1: 'low', y2: 'high', stroke: colourOf(i), strokeOpacity: 0.6 }),
          Plot.line(own, { x: 'rank', y: 'mean', stroke: colourOf(i), strokeWidth: 2 }),
          Plot.dot(own, { x: 'rank', y: 'mean', fill: colourOf(i), symbol: symbolOf(i), r: 5 }),
        ];
      }),
    ],
  });
}
