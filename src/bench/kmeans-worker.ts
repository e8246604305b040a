/**
 * fltac's own side of `fltac bench kmeans`: a process that answers requests on its standard input, as
 * bench/peers/kmeans_peer.py does for the peers. kmeans-side.ts starts it and says what crosses.
 */
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { kmeansBatch, setThreads } from '../engine/index.js';
import { packageRoot } from '../engine/load.js';
import type { KmeansResult } from '../engine/types.js';
import { readValues } from './kmeans-data.js';
import type { KmeansBenchShape } from './kmeans-report.js';
import type { SideReply, SideRequest, SideRun, SideSettings } from './kmeans-side.js';
import { failureOf } from './line-process.js';

const settings = JSON.parse(process.argv[2]!) as SideSettings;
let shape: KmeansBenchShape;
let data: Float32Array;

/** A line of /proc/self/status in bytes; where there is no such file, what the process held at most so far. */
function memory(field: 'VmRSS' | 'VmHWM'): number {
  const status = '/proc/self/status';
  const line = existsSync(status) ? new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(status, 'utf8')) : null;
  return 1024 * (line ? Number(line[1]) : process.resourceUsage().maxRSS);
}

/** Over shared memory, which the engine reads in place. */
function load(path: string, wanted: KmeansBenchShape): { baseBytes: number } {
  const baseBytes = memory('VmRSS');
  shape = wanted;
  const values = shape.batch * shape.rows * shape.columns;
  data = new Float32Array(new SharedArrayBuffer(values * Float32Array.BYTES_PER_ELEMENT));
  const file = openSync(path, 'r');
  readValues(file, 0, data);
  closeSync(file);
  return { baseBytes };
}

async function cluster({ nInit, seed, labels }: Extract<SideRequest, { op: 'run' }>): Promise<SideRun> {
  const { tol, device } = settings;
  const began = performance.now();
  const results = await kmeansBatch(data, { ...shape, nInit, seed, tol, device });
  const seconds = (performance.now() - began) / 1000;
  const [first] = results;
  if (labels !== null) writeFileSync(labels, joined(results));
  return {
    seconds,
    iterations: first!.iterations,
    path: first!.path,
    gram: first!.gram,
    bytesRead: results.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
    peakBytes: memory('VmHWM'),
  };
}

function joined(results: readonly KmeansResult[]): Uint8Array {
  return Buffer.concat(
    results.map(({ labels }) => new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength)),
  );
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  return `fltac ${version}`;
}

function answer(reply: SideReply): void {
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

setThreads(settings.threads);
answer({ version: packageVersion(), procedure: 'kmeans() as it comes, on shared memory', gpu: null });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as SideRequest;
  try {
    answer(request.op === 'load' ? load(request.file, request.shape) : await cluster(request));
  } catch (error) {
    answer(failureOf(error));
  }
}
