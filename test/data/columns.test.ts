import { expect, it } from 'vitest';
import { TableBuilder } from '../../src/data/columns.js';

it.each([
  ['rows.jsonl', true],
  ['rows.csv', true],
  ['rows.parquet', false],
])('an image column of %s may hold paths: %s', (file, allowed) => {
  const [sink] = new TableBuilder({ texts: [], image: 'photo' }).sinks;
  expect(sink!.accept('/somewhere/secret', file)).toBe(allowed);
  expect(sink!.accept({ bytes: '/somewhere/secret' }, file)).toBe(allowed);
  expect(sink!.accept({ bytes: Uint8Array.of(1, 2), path: 'a.png' }, file)).toBe(true);
});
