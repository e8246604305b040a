// Prints "N passed, N failed, N skipped" from vitest's JSON report, the file named on the command line.
import { readFileSync } from 'node:fs';

const report = readFileSync(process.argv[2], 'utf8');
if (report === '') {
  console.error('the tests did not run: what failed before them is above');
  console.log('0 passed, 0 failed, 0 skipped');
  process.exitCode = 1;
} else {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(report);
  // A file that cannot even be loaded holds no test that could fail: it counts as one failure.
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  );
  const failed = numFailedTests + brokenFiles.length;
  console.log(`${numPassedTests} passed, ${failed} failed, ${numPendingTests + numTodoTests} skipped`);
}
