// Loads a model on the CPU and tells what that took. usage: fltac_load.mjs MODEL_FOLDER DTYPE
import { Backbone, buildInfo } from '../../dist/engine/index.js';
import { memoryOf } from '../lib/memory.mjs';

const [folder, dtype] = process.argv.slice(2);

buildInfo(); // the libraries are in memory from here on
const start = memoryOf('VmRSS');
const began = performance.now();
const { info } = await Backbone.load(folder, { dtype, device: 'cpu' });
const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({ start, peak: memoryOf('VmHWM'), held: info.bytes, seconds }));
