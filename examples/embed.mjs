// A run inside a program: told of each round, stopped by Ctrl-C, and going on where it stopped when started again.
//   node embed.mjs [folder] [rounds]
import { FltacError, exitCodeOf, makeConfig, trainRun } from 'fltac';

const [folder = 'results/embedded', rounds = '3'] = process.argv.slice(2);
const config = makeConfig({
  scenario: 'quickstart',
  rounds: Number(rounds),
  baselineMethod: 'none',
  outputDir: folder,
});

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

const percent = (share) => `${(100 * share).toFixed(1)} %`;

try {
  const outcome = await trainRun(config, {
    signal: stop.signal,
    resume: 'auto',
    onRound({ round, rounds: all, assignment, scores = [], seconds }) {
      const shown = scores.map(({ task, metric }) => `${task} ${percent(metric)}`);
      const found = assignment.clusteringAccuracy;
      console.log(
        `round ${round} of ${all} in ${seconds.toFixed(1)} s, tasks found: ${percent(found)}; ${shown.join(', ')}`,
      );
    },
  });
  for (const { task, metric, majorityFloor } of outcome.tasks) {
    console.log(`${task}: ${percent(metric)} (floor ${percent(majorityFloor)})`);
  }
  console.log(`files: ${outcome.folder}`);
} catch (error) {
  if (!(error instanceof FltacError)) throw error;
  // One class for every failure, with a code; an aborted run says what it saved and how to go on.
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = exitCodeOf(error);
}
