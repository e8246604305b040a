// The faults: how each is brought about, and how the command must end. Each row's `arrange` gets a Room and says what to run;
// null where this machine cannot bring it about.
import { truncateSync } from 'node:fs';
import { CUSTOM, hubRows } from './hub-rows.mjs';
import { runRows } from './run-rows.mjs';

const YAML = 'settings.yaml';
const partition = (room, text) => ({ argv: ['partition', '--config', room.write(YAML, text)] });

/** A table that a custom task reads, by what is wrong with it. */
function table(fault, name, content, message, more = '') {
  return {
    fault,
    exit: 1,
    message,
    arrange: (room) => {
      if (content !== null) room.write(name, content);
      return partition(room, CUSTOM.replaceAll('rows.csv', name) + more);
    },
  };
}

const settings = [
  {
    fault: 'unknown key, wrong type, value out of range, keys that contradict each other',
    exit: 2,
    message: /5 problems:[^]*did you mean rounds[^]*lr[^]*n_clients[^]*tasks/,
    arrange: (room) =>
      partition(room, 'scenario: glue\nround: 3\nlr: fast\nn_clients: 0\nmin_frac: 2\ntasks: [sst3]\n'),
  },
  {
    fault: 'wrong flags of a command that takes no configuration',
    exit: 2,
    message: /3 problems:[^]*--rond[^]*--max-eval-batches 0[^]*--tasks/,
    arrange: () => ({ argv: ['evaluate', 'x', '--rond=1', '--max-eval-batches', '0', '--tasks', ','] }),
  },
  {
    fault: 'a bomb of YAML aliases',
    exit: 2,
    message: /aliases/,
    arrange: (room) => {
      const lines = ['a: &a [x, x, x, x, x, x, x, x, x]'];
      for (let i = 98; i < 118; i++) {
        const [name, last] = [String.fromCharCode(i), String.fromCharCode(i - 1)];
        lines.push(`${name}: &${name} [${Array(9).fill(`*${last}`).join(', ')}]`);
      }
      return partition(room, lines.join('\n'));
    },
  },
  {
    fault: 'YAML nested 100,000 deep',
    exit: 2,
    message: /not valid YAML/,
    arrange: (room) => partition(room, `lr: ${'['.repeat(100_000)}`),
  },
  {
    fault: 'a configuration of two megabytes',
    exit: 2,
    message: /at most 1048576 bytes/,
    arrange: (room) => partition(room, '#'.repeat(2_000_000)),
  },
  {
    fault: 'a configuration that is not UTF-8',
    exit: 2,
    message: /UTF-8/,
    arrange: (room) => partition(room, Buffer.from('output_dir: r\xe9sultats\n', 'latin1')),
  },
  {
    fault: 'no such configuration',
    exit: 2,
    message: /cannot be read: ENOENT/,
    arrange: () => ({ argv: ['partition', '--config', 'none.yaml'] }),
  },
];

const CSV = 'text,label\nred boat,good\nblue house,bad\n';
const fixture = (name) => (room) => {
  room.copy(`test/fixtures/data/${name}`, name);
  const columns = 'text: [sentence1, sentence2]\n    label: label\n';
  return partition(room, `scenario: custom\ndata:\n  mood:\n    train: ${name}\n    validation: 0.5\n    ${columns}`);
};

const data = [
  table('no such data file', 'gone.csv', null, /there is no file .*gone\.csv; paths in data are taken from the folder/),
  table(
    'CSV in another encoding',
    'latin.csv',
    Buffer.from('text,label\nna\xefve,1\n', 'latin1'),
    /expected text in UTF-8/,
  ),
  table('CSV whose quote does not end', 'open.csv', 'text,label\n"a,1\n', /broken CSV file .*[Qq]uote/),
  table(
    'JSON lines cut off',
    'cut.jsonl',
    '{"text": "a", "label": 0}\n{"text": "b',
    /cut\.jsonl:2: expected a JSON object/,
  ),
  table(
    'labels of -1',
    'kept.csv',
    'text,label\na,0\nb,1\nc,-1\n',
    /row 2 has label -1 \(as rows without a label have\)/,
  ),
  table(
    'a page of HTML called Parquet',
    'page.parquet',
    '<html>sign in</html>',
    /expected a Parquet file, but its first 4/,
  ),
  {
    fault: 'Parquet cut off',
    exit: 1,
    message: /it is cut off; download or copy it again/,
    arrange: (room) => {
      const run = fixture('pairs.parquet')(room);
      truncateSync(room.path('pairs.parquet'), 3000);
      return run;
    },
  },
  {
    fault: 'Parquet: a kilobyte that stands for 4 GB (a text that all rows repeat)',
    exit: 1,
    message: /a decompression bomb/,
    arrange: fixture('bomb-dictionary.parquet'),
  },
  {
    fault: 'Parquet: a page of 300 MB in ten kilobytes',
    exit: 1,
    message: /at most 268435456 are taken/,
    arrange: fixture('bomb-page.parquet'),
  },
];

/** Trains on a copy of the bundled model that `damage` has changed. */
function model(fault, damage, message) {
  return {
    fault,
    exit: 1,
    message,
    needsNative: true,
    arrange: (room) => {
      room.copy('quickstart/model', 'model');
      damage(room);
      room.settle();
      return { argv: ['train', '--model-name', room.path('model'), '--output-dir', 'out', '--rounds', '1'] };
    },
  };
}

/** Changes a safetensors file's header as an object; the data stay. */
function changeHeader(change) {
  return (room) => {
    const bytes = room.read('model/model.safetensors');
    const length = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
    const names = Object.keys(header).filter((name) => name !== '__metadata__');
    change(header, names);
    const text = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    room.write('model/model.safetensors', Buffer.concat([size, text, bytes.subarray(8 + length)]));
  };
}

function changeBytes(name, change) {
  return (room) => void room.write(name, change(room.read(name)));
}

const WEIGHTS = 'model/model.safetensors';
const models = [
  model('weights cut off', (room) => truncateSync(room.path(WEIGHTS), 20_000), /cut short|do not lie within/),
  model('weights that are no safetensors', (room) => void room.write(WEIGHTS, 'PK\x03\x04 a zip'), /safetensors/),
  model(
    'a header length beyond 64 bits of sense',
    changeBytes(WEIGHTS, (bytes) => Buffer.concat([Buffer.alloc(8, 255), bytes.subarray(8)])),
    /header's length is given as 18446744073709551615 bytes; at most/,
  ),
  model(
    'tensors that overlap',
    changeHeader((header, names) => (header[names[1]].data_offsets = header[names[0]].data_offsets)),
    /span|without overlap|tensors must follow/,
  ),
  model(
    'a tensor beyond the file',
    changeHeader((header, [name]) => (header[name].data_offsets = [0, 2 ** 52])),
    /do not lie within the \d+ bytes of data/,
  ),
  model(
    'a shape of 2^80 values',
    changeHeader((header, [name]) => (header[name].shape = [2 ** 40, 2 ** 40])),
    /more than 2\^63 values/,
  ),
  model(
    'an unknown data type',
    changeHeader((header, [name]) => (header[name].dtype = 'F4')),
    /data type "F4", which this version does not know/,
  ),
  model(
    'a weight of another shape than config.json says',
    changeBytes('model/config.json', (bytes) => {
      const config = JSON.parse(bytes.toString());
      return JSON.stringify({ ...config, vocab_size: config.vocab_size + 1 });
    }),
    /shape|expected/,
  ),
  model(
    'sizes beyond any model in config.json',
    changeBytes('model/config.json', (bytes) => JSON.stringify({ ...JSON.parse(bytes.toString()), hidden_size: 1e12 })),
    /"hidden_size" must be a whole number from 1 to 1000000/,
  ),
  model(
    'config.json nested 100,000 deep',
    changeBytes('model/config.json', (bytes) => {
      const text = bytes.toString().trimEnd();
      return `${text.slice(0, -1)}, "hidden_size": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    }),
    /config\.json: its JSON is nested more than 64 deep/,
  ),
  model('config.json cut off', (room) => truncateSync(room.path('model/config.json'), 100), /config\.json.*JSON/),
  model(
    'tokenizer.json cut off',
    (room) => truncateSync(room.path('model/tokenizer.json'), 1000),
    /no tokenizer that can/,
  ),
];

const disk = [
  {
    fault: 'output folder on a full disk (tmpfs of 64 kB)',
    exit: 1,
    message: /cannot be written.*(ENOSPC|[Nn]o space left)/,
    needsNative: true,
    arrange: (room) => {
      if (!room.mount('small', '64k')) return null;
      return { argv: ['train', '--output-dir', 'small/out', '--rounds', '1'] };
    },
  },
  {
    fault: 'output folder that may not be written',
    exit: 1,
    message: /cannot be written|EACCES|EROFS|ENOENT/,
    needsNative: true,
    arrange: () => ({ argv: ['train', '--output-dir', '/proc/fltac', '--rounds', '1'] }),
  },
  {
    fault: '--save on a full disk',
    exit: 1,
    message: /table\.csv cannot be written: ENOSPC/,
    arrange: (room) => {
      if (!room.mount('small', '4k')) return null;
      room.write('small/filling', Buffer.alloc(4096));
      room.settle();
      return { argv: ['partition', '--scenario', 'glue', '--save', 'small/table.csv'] };
    },
  },
];

/** Groups of rows by title. */
export const GROUPS = [
  { title: 'Settings', rows: settings },
  { title: 'Data files', rows: data },
  { title: 'Model files', rows: models },
  { title: "A run's folder", rows: runRows },
  { title: 'Disk', rows: disk },
  { title: 'Hub', rows: hubRows(CSV) },
];
