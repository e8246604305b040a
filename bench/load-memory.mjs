// How much memory loading a backbone takes beyond the weights it holds.
//
//   node bench/load-memory.mjs [--folder FOLDER] [--out FILE.json]
//
// Makes sharded LLaMA-shaped checkpoints with made-up weights below FOLDER (default: a temporary one; 4 GB) and loads each
// in a process of its own. Needs `npm run build`, and Linux for the peak of resident memory.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { SHAPES, makeLlamaFolder } from './lib/llama-folder.mjs';

const { values: options } = parseArgs({ options: { folder: { type: 'string' }, out: { type: 'string' } } });
const MIB = 2 ** 20;

const CASES = [
  { layers: 22, dtype: 'bfloat16' },
  { layers: 22, dtype: 'float16' },
  { layers: 22, dtype: 'float32' },
  { layers: 6, dtype: 'bfloat16' },
  { layers: 6, dtype: 'float32' },
];

const child = fileURLToPath(new URL('peers/fltac_load.mjs', import.meta.url));
const root = options.folder ?? mkdtempSync(join(os.tmpdir(), 'fltac-load-'));
const report = {
  what: 'peak resident memory of loading TinyLlama-1.1B-shaped bfloat16 files of 0.5 GiB, MiB',
  machine: {
    cpu: os.cpus()[0]?.model,
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
  },
  cases: [],
};
try {
  for (const { layers, dtype } of CASES) {
    const folder = join(root, `llama-${layers}`);
    makeLlamaFolder(folder, { ...SHAPES['tinyllama-1.1b'], layers });
    const shards = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
    const files = shards.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    const found = JSON.parse(execFileSync(process.execPath, [child, folder, dtype], { encoding: 'utf8' }));
    const row = {
      layers,
      dtype,
      files: files / MIB,
      held: found.held / MIB,
      peakBeyondStart: (found.peak - found.start) / MIB,
      seconds: found.seconds,
    };
    report.cases.push(row);
    const text = (mib) => `${mib.toFixed(0)} MiB`;
    console.log(
      `${layers} layers in ${dtype}: files ${text(row.files)}, held ${text(row.held)}, ` +
        `peak ${text(row.peakBeyondStart)} (${(row.peakBeyondStart / row.held).toFixed(2)} x held), ` +
        `${row.seconds.toFixed(1)} s`,
    );
  }
} finally {
  if (options.folder === undefined) rmSync(root, { recursive: true, force: true });
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
