import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parquetMetadata } from 'hyparquet';
import { readTable } from '../../src/data/read-table.js';
import { dataFixture, temporaryFolder } from '../support/files.js';
import { damageBytes, tellingNumber, type Draws } from './draws.js';
import { LONG, fuzz } from './fuzz.js';
import { numberAt, numbersOf, written } from './thrift-bytes.js';
import { JSON_TOKENS, ODD_JSON, damageTokens } from './tokens.js';

/** A sound Parquet file, and where its pages' headers stand. */
interface Sound {
  bytes: Buffer;
  headers: readonly number[];
}

function soundFile(name: string): Sound {
  const bytes = readFileSync(dataFixture(name));
  const chunks = parquetMetadata(bytes).row_groups.flatMap(({ columns }) => columns.map(({ meta_data }) => meta_data!));
  const headers = chunks.flatMap((chunk) => {
    const start = Number(chunk.dictionary_page_offset || chunk.data_page_offset);
    const end = start + Number(chunk.total_compressed_size);
    const starts: number[] = [];
    for (let at = start; at < end;) {
      starts.push(at);
      const header = numbersOf(bytes, at);
      // type, uncompressed size, compressed size
      at = header.end + numberAt(bytes, header.places[2]!);
    }
    return starts;
  });
  return { bytes, headers };
}

const SOUND = ['', '-plain-v2', '-zstd', '-gzip', '-brotli', '-lz4', '-required'].map((kind) =>
  soundFile(`pairs${kind}.parquet`),
);

/** Numbers of the footer, whose length is made to fit. */
function damageFooter(draws: Draws, bytes: Buffer): Buffer {
  const start = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
  let footer = Buffer.from(bytes.subarray(start, bytes.length - 8));
  for (let left = 1 + draws.below(3); left > 0; left--) {
    const { places } = numbersOf(footer, 0);
    const place = draws.of(places);
    const value = tellingNumber(draws, numberAt(footer, place)) * (draws.oneIn(8) ? -1 : 1);
    footer = Buffer.concat([
      footer.subarray(0, place.start),
      written(place.signed ? value : Math.abs(value), place.signed),
      footer.subarray(place.end),
    ]);
    // Only the first change is sure to leave the rest where a walk finds it.
    if (draws.oneIn(2)) break;
  }
  const length = Buffer.alloc(4);
  length.writeUInt32LE(draws.oneIn(12) ? draws.bits() : footer.length);
  return Buffer.concat([bytes.subarray(0, start), footer, length, bytes.subarray(-4)]);
}

/** Numbers of a page's header, in as many bytes as before, since everything after it is found by offsets. */
function damageHeader(draws: Draws, { bytes, headers }: Sound): Buffer {
  const changed = Buffer.from(bytes);
  const place = draws.of(numbersOf(changed, draws.of(headers)).places);
  const value = tellingNumber(draws, Math.abs(numberAt(changed, place))) * (draws.oneIn(8) ? -1 : 1);
  written(place.signed ? value : Math.abs(value), place.signed, place.end - place.start).copy(changed, place.start);
  return changed;
}

/** The first bytes of a page's content: lengths of levels, widths, run headers. */
function damageRuns(draws: Draws, { bytes, headers }: Sound): Buffer {
  const changed = Buffer.from(bytes);
  const { end } = numbersOf(changed, draws.of(headers));
  for (let left = 1 + draws.below(4); left > 0; left--) {
    changed[end + draws.below(12)] = draws.of([0, 1, 2, 3, 127, 128, 254, 255, draws.below(256)]);
  }
  return changed;
}

function damageParquet(draws: Draws): Buffer {
  const sound = draws.of(SOUND);
  switch (draws.below(5)) {
    case 0:
      return damageFooter(draws, sound.bytes);
    case 1:
      return damageHeader(draws, sound);
    case 2:
      return damageRuns(draws, sound);
    case 3:
      // In this order: the bytes of a short page's content may reach into the header after it.
      return damageRuns(draws, { ...sound, bytes: damageHeader(draws, sound) });
    default:
      return damageBytes(draws, sound.bytes);
  }
}

/** Writes the input and reads it as a table of two texts and a label. */
function reader(name: string): (bytes: Buffer | string) => Promise<unknown> {
  const path = join(temporaryFolder(), name);
  return async (bytes) => {
    writeFileSync(path, bytes);
    const table = await readTable([path], { texts: ['sentence1', 'sentence2'], label: 'label', labels: 'names' });
    for (const texts of table.texts) for (let row = 0; row < table.rows; row++) texts.get(row);
    expect(table.labels.length).toBe(table.rows);
  };
}

const ROWS = [
  { sentence1: 'the red boat', sentence2: 'a small\nhouse', label: 1 },
  { sentence1: 'größe "x"', sentence2: '', label: 0 },
  { sentence1: 'never, under', sentence2: 'b', label: 'yes' },
];

describe('damaged data files', () => {
  it(
    'Parquet: end in a table or one error',
    () =>
      fuzz({ name: 'Parquet', damage: damageParquet, read: reader('rows.parquet'), codes: ['FORMAT'] }).then(() => {}),
    LONG,
  );

  it(
    'JSON lines: end in a table or one error',
    async () => {
      const sound = ROWS.map((row) => `${JSON.stringify(row)}\n`).join('');
      const odd = [...ODD_JSON, '"sentence1"', '"label"', '\n', '\r\n', '\u{feff}'];
      const damage = (draws: Draws): Buffer => {
        const text = Buffer.from(damageTokens(draws, sound, JSON_TOKENS, odd));
        return draws.oneIn(6) ? damageBytes(draws, text) : text;
      };
      await fuzz({ name: 'JSON lines', damage, read: reader('rows.jsonl'), codes: ['FORMAT'] });
    },
    LONG,
  );

  it(
    'CSV: end in a table or one error',
    async () => {
      const quoted = (value: unknown) => `"${String(value).replaceAll('"', '""')}"`;
      const lines = ROWS.map((row) => [quoted(row.sentence1), quoted(row.sentence2), row.label].join(','));
      const sound = `sentence1,sentence2,label\n${lines.join('\r\n')}\n`;
      const odd = ['"', '""', '"""', ',', ',,', '\n', '\r', '\r\n\r\n', '\0', '\u{feff}', 'label', '-1', ' ', '\t'];
      const damage = (draws: Draws): Buffer => {
        const text = Buffer.from(damageTokens(draws, sound, /"(?:[^"]|"")*"|,|\r?\n|[^",\r\n]+|"|\r/g, odd));
        return draws.oneIn(6) ? damageBytes(draws, text) : text;
      };
      await fuzz({ name: 'CSV', damage, read: reader('rows.csv'), codes: ['FORMAT'] });
    },
    LONG,
  );
});
