#!/usr/bin/env node
// Brings about every fault of scripts/faults and shows what the command line says to it, how it ends and what it leaves:
// `node scripts/fault-table.mjs` (after npm run build). With --write the table goes into docs/reliability.md. Exits with 1
// where a command does not end as it must.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GROUPS } from './faults/rows.mjs';
import { runRow } from './faults/run.mjs';

const PAGE = fileURLToPath(new URL('../docs/reliability.md', import.meta.url));
const BEGIN = '<!-- fault table: scripts/fault-table.mjs --write -->';
const END = '<!-- end of the fault table -->';
const LONGEST = 240;

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
const shorten = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);

function tableRow(fault, { exit, message, left }) {
  const files = left.length === 0 ? 'nothing' : left.map((name) => `\`${name.replaceAll('|', '')}\``).join(', ');
  return `| ${cell(fault)} | ${cell(shorten(message)) || '(none: it goes on)'} | ${exit} | ${files} |`;
}

const parts = [];
let failed = 0;
for (const { title, rows } of GROUPS) {
  parts.push(`\n### ${title}\n`, '| fault | what is said | exit code | files left |', '| --- | --- | --- | --- |');
  for (const row of rows) {
    const outcome = await runRow(row);
    if ('skipped' in outcome) {
      console.error(`skipped: ${row.fault}: ${outcome.skipped}`);
      parts.push(`| ${cell(row.fault)} | not run: ${outcome.skipped} | | |`);
      continue;
    }
    parts.push(tableRow(row.fault, outcome));
    console.error(`${outcome.problems.length === 0 ? 'as it must' : 'WRONG'}: ${row.fault}`);
    for (const problem of outcome.problems) console.error(`  ${problem}`);
    failed += outcome.problems.length > 0 ? 1 : 0;
  }
}
const table = parts.join('\n');
if (process.argv.includes('--write')) {
  const page = readFileSync(PAGE, 'utf8');
  const [start, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`${PAGE} has no place for the table`);
  writeFileSync(PAGE, `${page.slice(0, start)}${BEGIN}\n${table}\n\n${page.slice(end)}`);
} else {
  console.log(table);
}
process.exitCode = failed > 0 ? 1 : 0;
