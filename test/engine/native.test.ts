import { afterEach, expect, it, vi } from 'vitest';
import { callNative, type Hooks } from '../../src/engine/native.js';

vi.mock('../../src/engine/load.js', () => ({
  loadAddon: () => ({ createControl: () => ({}), cancel: () => undefined }),
}));
afterEach(() => vi.restoreAllMocks());

it.each([
  ['fulfilled', () => Promise.resolve('done')],
  ['rejected', () => Promise.reject(new Error('stopped'))],
])('progress that is reported after a call was %s is not passed on', async (_, end) => {
  const onProgress = vi.fn();
  let hooks: Hooks = {};
  const call = callNative(
    (_native, given) => {
      hooks = given;
      given.onProgress!(1, 2);
      return end();
    },
    { onProgress },
  );
  await call.catch(() => undefined);
  hooks.onProgress!(2, 2);
  expect(onProgress.mock.calls).toEqual([[1, 2]]);
});
