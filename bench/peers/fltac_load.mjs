// Loads a model on the CPU and tells what that took. usage: fltac_load.mjs MODEL_FOLDER DTYPE
import { readFileSync } from 'node:fs';
import { Backbone, buildInfo } from '../../dist/engine/index.js';

const [folder, dtype] = process.argv.slice(2);
const status = (name) =>
  1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]);

buildInfo(); // the libraries are in memory from here on
const start = status('VmRSS');
const began = performance.now();
const { info } = await Backbone.load(folder, { dtype, device: 'cpu' });
const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({ start, peak: status('VmHWM'), held: info.bytes, seconds }));
