import { expect, it } from 'vitest';
import { didYouMean, editDistance, nearest } from '../src/suggest.js';

it.each([
  ['', '', 0],
  ['abc', 'abc', 0],
  ['', 'abc', 3],
  ['kitten', 'sitting', 3],
  ['ab', 'ba', 1],
  ['rounds', 'ronuds', 1],
])('the distance of %j and %j is %i', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

it('suggests the nearest name, ignoring letter case, - and _', () => {
  const names = ['lora_rank', 'lora_alpha', 'n_clients'];
  expect(didYouMean('loraRank', names)).toBe('; did you mean lora_rank?');
  expect(didYouMean('n-client', names)).toBe('; did you mean n_clients?');
  expect(didYouMean('lora_alhpa', names)).toBe('; did you mean lora_alpha?');
});

it('suggests nothing where nothing is near', () => {
  expect(didYouMean('colour', ['lora_rank', 'n_clients'])).toBe('');
  expect(nearest('x'.repeat(10_000), [['x', 'x']])).toBeUndefined();
});
