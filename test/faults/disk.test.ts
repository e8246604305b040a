// A disk that fills while a run commits a round: what was saved stays, and the run goes on where there is room again.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { differencesOfRuns } from '../../scripts/faults/kills.mjs';
import { Room } from '../../scripts/faults/room.mjs';
import { SHORT } from '../../scripts/faults/run-rows.mjs';

let room: Room;
beforeEach(() => (room = new Room()));
afterEach(() => room.close());

it.each([
  ['in the first round', '300k', 'no round was complete'],
  ['as the second is committed', '384k', 'round 1 is saved in'],
])(
  'a run whose disk fills %s ends in one line, and resumes to the same files',
  { timeout: 600_000 },
  async (_, size, saved) => {
    // It takes root to mount one.
    if (!room.mount('small', size)) return;
    const train = ['train', '--rounds', '3', ...SHORT, 'save_every=1000', '--output-dir'];
    const [folder, other] = [room.path('small/out'), room.path('whole')];
    const full = await room.fltac([...train, folder]);
    expect(full.code, full.stderr).toBe(1);
    expect(full.stderr).toMatch(/^fltac: \S+ cannot be written.*: .*no space left/im);
    expect(full.stderr).toContain(`: ${saved}`);
    expect(full.stderr).toContain(`\nto go on: fltac train --resume ${folder}\n`);
    expect(room.files().filter((name) => name.includes('.tmp-') || name.endsWith('run.lock'))).toEqual([]);
    room.resize('small', '64m');
    const rest = await room.fltac(['train', '--resume', folder]);
    expect(rest.code, rest.stderr).toBe(0);
    const whole = await room.fltac([...train, other]);
    expect(whole.code, whole.stderr).toBe(0);
    expect(differencesOfRuns(other, folder)).toEqual([]);
  },
);
