#!/usr/bin/env node
// The command `fltac`. Node's version is compared before anything else is imported: what follows needs a newer one to
// even be parsed, and its complaint would be of no use.
const REQUIRED = [20, 17] as const;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < REQUIRED[0] || (major === REQUIRED[0] && minor < REQUIRED[1])) {
  process.stderr.write(
    `fltac: needs Node ${REQUIRED.join('.')} or newer, found ${process.versions.node}: install it from https://nodejs.org\n`,
  );
  process.exitCode = 2;
} else {
  const { main } = await import('./run.js');
  process.exitCode = await main(process.argv.slice(2));
}

export {};
