// Brings about one fault and judges how the command ended.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Room } from './room.mjs';

const ADDON = fileURLToPath(new URL('../../build/Release/fltac.node', import.meta.url));

/** Why a row cannot be run here, or undefined. */
export function missingFor(row) {
  return row.needsNative && !existsSync(ADDON) ? 'the native engine is not built' : undefined;
}

/**
 * Runs a row. Gives `skipped` with the reason, or the command's end, the problems found with it, and the files it left.
 * @returns {Promise<{skipped: string} | {exit: number | string, message: string, left: string[], problems: string[]}>}
 */
export async function runRow(row) {
  const missing = missingFor(row);
  if (missing) return { skipped: missing };
  const room = new Room();
  let close;
  try {
    room.settle();
    const run = await row.arrange(room);
    if (run === null) return { skipped: 'this user cannot mount a file system' };
    close = run.close;
    if (room.before.size === 0) room.settle();
    const { code, stdout, stderr } = await room.fltac(run.argv, { env: run.env });
    const { wrong, words } = room.left();
    const message = messageOf(stderr, room.folder);
    const text = row.exit === 0 ? stdout + stderr : stderr;
    return { exit: code, message, left: words, problems: problemsOf(row, code, text, wrong) };
  } finally {
    await close?.();
    room.close();
  }
}

function problemsOf(row, code, text, wrong) {
  const problems = [];
  if (code !== row.exit) problems.push(`exit code ${code}, expected ${row.exit}`);
  if (!row.message.test(text)) problems.push(`expected ${row.message}, found ${text.slice(-600)}`);
  if (/^ {4}at /m.test(text)) problems.push('it prints a stack');
  if (/hf_secret/.test(text)) problems.push('it prints the token');
  if (/fault of fltac/.test(text)) problems.push('it ends as a fault of fltac');
  if (wrong.length > 0) problems.push(`it leaves ${wrong.join(', ')}`);
  return problems;
}

/** The error (or the last warning of a command that went on), without the folder's name. */
function messageOf(stderr, folder) {
  const lines = stderr.trimEnd().split('\n');
  const start = lines.findIndex((line) => line.startsWith('fltac: '));
  const warnings = lines.filter((line) => line.includes('trying again'));
  const chosen = start >= 0 ? lines.slice(start).join(' ') : (warnings.at(-1) ?? '');
  return (
    chosen
      .replaceAll(folder, '…')
      .replace(/127\.0\.0\.1:\d+/g, 'localhost')
      .replace(/\.tmp-\d+/g, '.tmp-<process>')
      // A journal's length, which that of its times makes.
      .replace(/first \d+ bytes are not those/, 'first <n> bytes are not those')
      .replace(/[0-9a-f]{40,64}/g, '<hash>')
      .replace(/\s+/g, ' ')
      .replace(/^fltac: /, '')
  );
}
