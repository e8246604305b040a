// Faults of a run's folder: a checkpoint that is damaged or another run's, a second run, a disk that fills.
import { cpSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Room } from './room.mjs';

/** Arguments of a run of a few seconds on the bundled model and data; a further `key=value` may follow them. */
export const SHORT = [
  '--n-clients',
  '3',
  '--local-steps',
  '1',
  '--max-eval-batches',
  '1',
  '--override',
  'baseline_method=none',
];

/** The folder of a short run of one round, made once for all rows. */
let finished;

async function makeFinished() {
  const folder = mkdtempSync(join(tmpdir(), 'fltac-finished-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const room = new Room();
  try {
    const { code, stderr } = await room.fltac(['train', '--rounds', '1', ...SHORT, '--output-dir', 'out']);
    if (code !== 0) throw new Error(`the run to damage failed: ${stderr}`);
    cpSync(room.path('out'), folder, { recursive: true });
  } finally {
    room.close();
  }
  return folder;
}

/** Gives a finished run's folder a fault, then asks it for a second round (or for what `argv` says). */
function resumed(fault, { damage, message, exit = 1, argv = ['--resume', 'out', '--rounds', '2'] }) {
  return {
    fault,
    exit,
    message,
    needsNative: true,
    arrange: async (room) => {
      finished ??= makeFinished();
      cpSync(await finished, room.path('out'), { recursive: true });
      damage(room);
      room.settle();
      return { argv: ['train', ...argv] };
    },
  };
}

const STATE = 'out/checkpoint/state.json';
const VECTORS = 'out/checkpoint/round_1.safetensors';

const cut = (name, size) => (room) => truncateSync(room.path(name), size);
const flipBit = (name, at) => (room) => {
  const bytes = room.read(name);
  bytes[at] ^= 1;
  room.write(name, bytes);
};
const editState = (change) => (room) => {
  const state = JSON.parse(room.read(STATE).toString());
  change(state);
  room.write(STATE, JSON.stringify(state));
};
const NEW_RUN = ['--rounds', '1', ...SHORT, '--output-dir', 'out'];

export const runRows = [
  resumed("the checkpoint's state cut off", {
    damage: cut(STATE, 40),
    message: /state\.json: .*JSON.*restore the file, or give --overwrite to begin anew/,
  }),
  resumed("the checkpoint's adapters cut off", {
    damage: cut(VECTORS, 1000),
    message: /round_1\.safetensors: its SHA-256 is not the one that state\.json knows/,
  }),
  resumed("a bit flipped in the checkpoint's adapters", {
    damage: flipBit(VECTORS, 5000),
    message: /round_1\.safetensors: its SHA-256 is not the one that state\.json knows/,
  }),
  resumed("the checkpoint's adapters gone", {
    damage: (room) => rmSync(room.path(VECTORS)),
    message: /round_1\.safetensors: it is missing\. The run cannot go on/,
  }),
  resumed('the checkpoint of a run with another seed', {
    damage: editState((state) => (state.config.seed = 7)),
    exit: 2,
    message: /has other settings:\s+seed: 7 there, 42 now/,
  }),
  resumed('the checkpoint of a run on another partition of the data', {
    damage: editState((state) => (state.origin.partition = '0'.repeat(64))),
    exit: 2,
    message: /was made from other model files or data:\s+partition:/,
  }),
  resumed('the whole checkpoint gone', {
    damage: (room) => rmSync(room.path('out/checkpoint'), { recursive: true }),
    exit: 2,
    message: /holds saved rounds but no checkpoint/,
  }),
  resumed('a journal cut off', {
    damage: cut('out/metrics.jsonl', 300),
    message: /metrics\.jsonl: its first \d+ bytes are not those that the checkpoint knows/,
  }),
  resumed('a journal edited', {
    damage: flipBit('out/cluster_assignments.jsonl', 40),
    message: /cluster_assignments\.jsonl: its first \d+ bytes are not those that the checkpoint knows/,
  }),
  resumed('a run into the folder of a finished one', {
    damage: () => {},
    argv: NEW_RUN,
    exit: 2,
    message: /is not empty .*--resume to go on with the run in it or --overwrite to replace it/,
  }),
  resumed('a run into the folder of one that is running', {
    // The process that tries the rows is one that runs.
    damage: (room) => room.write('out/run.lock', `${process.pid} ${hostname()}`),
    exit: 2,
    message: /another run is working in the output folder/,
  }),
  resumed('a lock that a killed run left', {
    damage: (room) => room.write('out/run.lock', `${2 ** 22 + 1} ${hostname()}`),
    exit: 0,
    message: /goes on after round 1 of 2/,
  }),
  {
    fault: 'a disk that fills as the second round is committed (tmpfs of 384 kB)',
    exit: 1,
    message:
      /round_2\.safetensors: cannot be written.*No space left[^]*round 1 is saved[^]*to go on: fltac train --resume/,
    needsNative: true,
    arrange: (room) => {
      if (!room.mount('small', '384k')) return null;
      const argv = ['train', '--rounds', '3', ...SHORT, 'save_every=1000', '--output-dir', 'small/out'];
      return { argv };
    },
  },
];
