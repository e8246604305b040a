// Rounds in memory, without a folder: the program decides after each whether to go on.
//   node rounds.mjs [most rounds]
import { makeConfig, openFederation } from 'fltac';

const most = Number(process.argv[2] ?? 6);
const opened = await openFederation(makeConfig({ scenario: 'quickstart', rounds: most }));
try {
  const { federation } = opened;
  const { adapters, nClients, tasks } = federation.plan;
  console.log(
    `${adapters.length} adapters of ${federation.layout.size} values: ${nClients} clients, ${tasks.length} tasks`,
  );
  for (let round = 1; round <= federation.rounds; round += 1) {
    const { assignment, scores } = await federation.round(round);
    const mean = scores.reduce((sum, { metric }) => sum + metric, 0) / scores.length;
    console.log(`round ${round}: ${assignment.clusters} clusters, mean accuracy ${mean.toFixed(3)}`);
    if (mean > 0.9) break;
  }
  // One flat float32 vector for each adapter that is held; named tensors: federation.layout.tensors.
  for (const [cluster, values] of federation.clusterStates())
    console.log(`cluster ${cluster}: ${values.length} values`);
} finally {
  opened.dispose();
}
