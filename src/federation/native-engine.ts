/** The libtorch engine behind the interfaces that the federation asks for. */
import {
  AdapterBank,
  Backbone,
  buildInfo,
  checkDevices,
  describeArchitecture,
  evaluate,
  generate,
  kmeans,
  mergeModel,
  readArchive,
  readSafetensors,
  setThreads,
  squaredDistances,
  train,
  writeArchive,
  writeSafetensors,
} from '../engine/index.js';
import { resolveThreads } from '../engine/threads.js';
import { FltacError } from '../errors.js';
import type { Bank, Engine, EngineFace, LoadOptions } from './engine.js';

/** Loads backbones with libtorch; @throws FltacError NATIVE at the first use when the addon cannot be loaded */
export const nativeEngine: EngineFace = {
  checkDevices,
  load: loadEngine,
  describeArchitecture,
  environment() {
    const { libtorch, cuda, cpu, linear, bfloat16 } = buildInfo();
    return {
      ...{ libtorch, cuda: cuda ? 'present' : 'absent', instructions: cpu, linear },
      bfloat16: bfloat16 ?? 'absent',
    };
  },
  writeArchive,
  readArchive,
  readSafetensors,
  writeSafetensors,
};

async function loadEngine(folder: string, { threads, ...options }: LoadOptions): Promise<Engine> {
  setThreads(resolveThreads(threads));
  const backbone = await Backbone.load(folder, options);
  return {
    info: backbone.info,
    layout: (spec) => backbone.layout(spec),
    createBank: (spec, rows) => new AdapterBank(backbone, spec, rows),
    train: (bank, jobs, settings) => train(own(bank), jobs, settings),
    evaluate: (bank, jobs, settings) => evaluate(own(bank), jobs, settings),
    generate: (bank, jobs, settings) => generate(own(bank), jobs, settings),
    kmeans: (bank, settings) => kmeans(own(bank), settings),
    distances: (bank, settings) => squaredDistances(own(bank), settings),
    merge: (from, bank, row, file, settings) => mergeModel(from, own(bank), row, file, settings),
    dispose: () => backbone.dispose(),
  };
}

function own(bank: Bank): AdapterBank {
  if (bank instanceof AdapterBank) return bank;
  throw new FltacError('INTERNAL', 'a bank of another engine was given to the libtorch engine');
}
