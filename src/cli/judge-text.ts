/** The outcome of `fltac judge` for people. */
import type { JudgeOutcome } from '../judge/judge.js';
import { formatTable, score } from '../run/table.js';
import type { TableStyle } from '../run/table.js';

const HEAD = ['task', 'mean score', '95 % interval', 'answers', 'scored', 'unparsable', 'refused'];

export function formatScoresOfJudge({ judge, tasks, all }: JudgeOutcome, style: TableStyle): string {
  const rows = [...tasks, { task: 'all answers', ...all }].map((row) => [
    row.task,
    score(row.mean),
    row.interval === null ? '-' : `${score(row.interval[0])} to ${score(row.interval[1])}`,
    ...[row.answers, row.scored, row.unparsable, row.refused].map(String),
  ]);
  return `scores by ${judge}, from 0 to 1; intervals by bootstrap over the answers\n\n${formatTable(HEAD, rows, style)}`;
}
