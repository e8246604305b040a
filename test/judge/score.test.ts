import { describe, expect, it } from 'vitest';
import { parseScore } from '../../src/judge/score.js';

describe('parseScore', () => {
  it.each([
    ['0.75', 0.75],
    [' 1\n', 1],
    ['0', 0],
    ['.5', 0.5],
    ['1.0', 1],
    ['0.8.', 0.8],
    ['**0.8**', 0.8],
    ['`0.8`', 0.8],
    ['Score: 0.8', 0.8],
    ['**Score:** 0.8', 0.8],
    ['**Score: 0.8**', 0.8],
    ['## Final score = 0.8.', 0.8],
    ['The answer is short but right.\n\nScore: 0.9', 0.9],
    ['score is 0.25\nIt misses half.', 0.25],
    ['Rating: 1', 1],
  ])('reads %j as %d', (reply, score) => {
    expect(parseScore(reply)).toBe(score);
  });

  it.each([
    '',
    'good',
    '8/10',
    'Score: 8/10',
    '80%',
    '1.5',
    '-0.5',
    'Score: -0.5',
    'Score: 10',
    '2',
    '0.5 or 0.7',
    '0.5-0.7',
    'Score: 0.5\nScore: 0.7',
    'I would give it 0.8',
    'The score: 0.8 would be too much',
    'NaN',
    '1e-3',
    '0,8',
    'Score:',
    '.',
    '{"score": 0.8}',
  ])('gives no score for %j', (reply) => {
    expect(parseScore(reply)).toBeNull();
  });
});
