/* global clearTimeout, setTimeout */
// Kills runs at seeded random moments, goes on with each, and holds the end to the files of a run nobody touched.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, watch } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/**
 * What the moment of a kill is drawn from: the run's time, its writes, those of its checkpoints, or the time after a
 * round's last local work.
 */
const TRIGGERS = ['time', 'write', 'checkpoint', 'evaluation'];

/** A checkpoint's two files, as they are written and as they take their place. */
const CHECKPOINT = /^(state\.json|round_\d+\.safetensors)(\.tmp-\d+)?$/;

/**
 * @param {object} options
 * @param {string} options.folder an empty folder that takes the runs
 * @param {number} options.kills how many runs are killed; one that ends before its moment is run again to another one
 * @param {number} options.seed of the moments
 * @param {readonly string[]} options.arguments of `fltac train`, without a folder
 * @param {(line: string) => void} [options.tell] takes a line for each kill
 * @returns the kills, each with its moment, the phase it fell in, and how the resumed run's files differ (not at all)
 */
export async function killRuns({ folder, kills, seed, arguments: given, tell = () => {} }) {
  const random = mulberry32(seed);
  mkdirSync(folder, { recursive: true });
  const reference = join(folder, 'uninterrupted');
  const whole = await train(reference, given);
  if (whole.code !== 0) throw new Error(`the run to compare with failed:\n${whole.err}`);
  const expected = contents(reference);
  const results = [];
  for (let i = 0; i < kills; i += 1) {
    const place = join(folder, `killed_${i}`);
    const trigger = TRIGGERS[i % TRIGGERS.length];
    const killed = await killedRun(place, given, trigger, whole, random);
    const phase = phaseOf(place, whole.localParts);
    const resumed = await train(place, given);
    const differences =
      resumed.code === 0 ? differencesOf(expected, contents(place)) : [`exit ${resumed.code}: ${resumed.err}`];
    const kept = readJson(join(place, 'environment.json'));
    results.push({ trigger, afterMs: Math.round(killed.ms), phase, differences, log: resumed.err, environment: kept });
    tell(
      `kill ${i + 1}/${kills} after ${(killed.ms / 1000).toFixed(2)} s (${trigger}), in ${phase}: ` +
        (differences.length === 0 ? 'the same files' : `DIFFERENT: ${differences.join('; ')}`),
    );
    if (differences.length === 0) rmSync(place, { recursive: true });
  }
  return results;
}

/** How often a moment is drawn: a machine that is less busy than before ends a run before it. */
const MOST_DRAWS = 20;

/** Runs into an empty folder until a run is killed in it. @param whole a run to draw from; takes the time of later ones */
async function killedRun(place, given, trigger, whole, random) {
  for (let draw = 0; draw < MOST_DRAWS; draw += 1) {
    rmSync(place, { recursive: true, force: true });
    const run = await train(place, given, killAt(trigger, whole, random));
    if (run.signal === 'SIGKILL') return run;
    if (run.code !== 0) throw new Error(`a run that was to be killed failed by itself:\n${run.err}`);
    whole.ms = run.ms;
  }
  throw new Error(`${MOST_DRAWS} runs ended before they were killed (${trigger})`);
}

/** What is told of a run's start and writes, and kills it at a moment that it draws. */
function killAt(trigger, whole, random) {
  const draw = random();
  if (trigger === 'time') return { start: (kill) => setTimeout(kill, draw * whole.ms) };
  const { counts, lateMs } = MOMENTS[trigger];
  const nth = 1 + Math.floor(draw * whole.writes.filter((write) => counts(write, whole)).length);
  let seen = 0;
  return {
    write: (write, kill) => {
      if (counts(write, whole) && (seen += 1) === nth) setTimeout(kill, lateMs * random());
    },
  };
}

/** Which writes a trigger counts, and how long after one the run is killed at most. */
const MOMENTS = {
  write: { counts: () => true, lateMs: 2 },
  checkpoint: { counts: ({ name, at }) => basename(at) === 'checkpoint' && CHECKPOINT.test(name), lateMs: 2 },
  evaluation: { counts: ({ parts }, whole) => parts === whole.localParts, lateMs: 150 },
};

/** Runs `fltac train --resume auto` into a folder. */
function train(folder, given, moment = {}) {
  mkdirSync(folder, { recursive: true });
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, [MAIN, 'train', ...given, '--output-dir', folder, '--resume', 'auto'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const kill = () => child.kill('SIGKILL');
    const writes = [];
    const unwatch = watchRun(folder, (name, at) => {
      const write = { name, at, parts: /^round_\d+_work\.json$/.test(name) ? partsIn(join(at, name)) : 0 };
      writes.push(write);
      moment.write?.(write, kill);
    });
    const timer = moment.start?.(kill);
    let err = '';
    child.stderr.on('data', (chunk) => (err += chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      unwatch();
      // A round's local work is complete when its index counts all of its parts.
      const localParts = Math.max(0, ...writes.map(({ parts }) => parts));
      resolve({ code, signal, err, ms: performance.now() - started, writes, localParts });
    });
  });
}

/** Calls `onWrite(name, folder)` for each entry made or renamed in a run's folder and those in it. @returns what ends it */
function watchRun(folder, onWrite) {
  const watchers = [];
  const follow = (at) => {
    const watcher = watch(at, (event, name) => {
      if (event !== 'rename' || name === null) return;
      onWrite(name, at);
      if (['checkpoint', 'baseline_fedit'].includes(name) && existsSync(join(at, name))) follow(join(at, name));
    });
    watcher.on('error', () => watcher.close());
    watchers.push(watcher);
  };
  follow(folder);
  return () => watchers.forEach((watcher) => watcher.close());
}

/** What a run was doing when it was killed, from what it left. */
function phaseOf(folder, localParts) {
  const baseline = join(folder, 'baseline_fedit');
  const own = existsSync(baseline) && readdirSync(baseline).length > 0 ? baseline : folder;
  const checkpoint = join(own, 'checkpoint');
  const names = readdirSync(own);
  const saved = existsSync(checkpoint) ? readdirSync(checkpoint) : [];
  if (saved.some((name) => name.includes('.tmp-') && /_work/.test(name))) return 'write of local work';
  if (saved.some((name) => name.includes('.tmp-'))) return 'checkpoint write';
  if (readdirSync(own, { recursive: true }).some((name) => name.includes('.tmp-'))) return 'write of another file';
  const state = readJson(join(checkpoint, 'state.json'));
  if (state === undefined) return names.includes('config.yaml') ? 'start, before any round' : 'loading';
  // Vectors of two rounds: either the state that names the new ones is missing, or the old ones are yet to be removed.
  if (saved.filter((name) => /^round_\d+\.safetensors$/.test(name)).length > 1) return 'checkpoint write';
  if (state.complete) return 'the end, after all rounds';
  const next = state.round + 1;
  if (names.includes(`adapters_round_${next}.pt`)) return 'between writes of a round';
  const trained = partsIn(join(checkpoint, `round_${next}_work.json`)) === localParts;
  return trained ? 'averaging or evaluation' : 'training';
}

function partsIn(file) {
  return (readJson(file)?.jobs ?? []).reduce((sum, job) => sum + job.losses.length, 0);
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined; // not there, or just being replaced
  }
}

/** Files that tell times, and so differ between equal runs. */
const TIMED = new Set(['environment.json', 'report.html']);

/** Every file of a run by name, as bytes without times and the run's own path. */
function contents(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !TIMED.has(entry.name));
  return new Map(
    files.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [relative(folder, file), comparable(entry.name, readFileSync(file), folder)];
    }),
  );
}

function comparable(name, bytes, folder) {
  if (name.endsWith('.jsonl')) return Buffer.from(bytes.toString().replace(/"seconds":[^,}]+/g, ''));
  if (name === 'config.yaml') return Buffer.from(bytes.toString().replaceAll(folder, ''));
  if (name === 'manifest.json') return Buffer.from(JSON.stringify(withoutTimed(JSON.parse(bytes.toString()))));
  if (name !== 'state.json') return bytes;
  const state = JSON.parse(bytes.toString());
  return Buffer.from(JSON.stringify({ ...state, seconds: 0, journals: null }));
}

/** A manifest without the digests of files that hold times or the run's own path. */
function withoutTimed({ reload, files }) {
  const timed = ['config.yaml', 'environment.json', 'metrics.jsonl'];
  return { reload, files: Object.fromEntries(Object.entries(files).filter(([name]) => !timed.includes(name))) };
}

/** How the files of one run differ from those of another with the same settings, times and their own paths aside. */
export function differencesOfRuns(expected, found) {
  return differencesOf(contents(expected), contents(found));
}

function differencesOf(expected, found) {
  const names = [...new Set([...expected.keys(), ...found.keys()])].sort();
  return names.flatMap((name) => {
    if (!found.has(name)) return [`${name} is missing`];
    if (!expected.has(name)) return [`${name} is left over`];
    const [before, after] = [expected.get(name), found.get(name)];
    return before.equals(after) ? [] : [`${name} differs${howDiffers(name, before, after)}`];
  });
}

/** What tells a rounding from other data, where a file's kind lets that be told. */
function howDiffers(name, before, after) {
  if (name.endsWith('.jsonl')) return `: ${differentLines(before.toString(), after.toString())}`;
  if (name.endsWith('.safetensors') && before.length === after.length) return `: ${differentValues(before, after)}`;
  return '';
}

/** The first line that differs, from a little before the place where it does. */
function differentLines(before, after) {
  const [ours, theirs] = [before.split('\n'), after.split('\n')];
  const line = ours.findIndex((text, i) => text !== theirs[i]);
  if (line < 0) return `${theirs.length - ours.length} lines more`;
  const other = theirs[line] ?? '';
  const place = [...ours[line]].findIndex((letter, i) => letter !== other[i]);
  const from = Math.max(0, place - 80);
  return `line ${line + 1}, ${ours[line].slice(from, place + 80)} | ${other.slice(from, place + 80)}`;
}

/** By tensor: how many values differ and by how much at most. All tensors of a run's files are float32. */
function differentValues(before, after) {
  const start = 8 + Number(before.readBigUInt64LE());
  const header = JSON.parse(before.toString('utf8', 8, start));
  const tensors = Object.entries(header).filter(([tensor]) => tensor !== '__metadata__');
  const told = tensors.flatMap(([tensor, entry]) => {
    const [from, to] = entry.data_offsets;
    const count = (to - from) / 4;
    let values = 0;
    let most = 0;
    for (let i = 0; i < count; i += 1) {
      const at = start + from + 4 * i;
      const distance = Math.abs(before.readFloatLE(at) - after.readFloatLE(at));
      if (distance === 0) continue;
      values += 1;
      most = Math.max(most, distance);
    }
    return values === 0 ? [] : [`${tensor} in ${values} of ${count} values, by up to ${most}`];
  });
  return told.length > 0 ? told.slice(0, 4).join('; ') : 'its header or bits alone';
}

/** Numbers from 0 to below 1 of a seed (Tommy Ettinger's mulberry32, public domain). */
function mulberry32(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
