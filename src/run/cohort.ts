/** How many adapters one pass over the backbone trains. */
import type { RunConfig } from '../config/schema.js';
import { memoryLimit } from '../engine/memory.js';
import type { BackboneInfo } from '../engine/types.js';

/** Bytes of this machine's memory that this process may use, and that nothing uses now. */
export interface MachineMemory {
  total: number;
  free: number;
}

export interface Cohort {
  size: number;
  /** completes "cohort N, because" */
  reason: string;
}

/** The machine's memory, or the share of it that a container gives this process. */
export function machineMemory(): MachineMemory {
  const total = memoryLimit();
  return { total, free: Math.min(total, process.availableMemory()) };
}

/** More adapters gain nothing on a CPU, whose products are large enough; a GPU wants as many rows as it can get. */
const MOST = { cpu: 8, cuda: 64 } as const;
/** The share of memory for activations; on a GPU of what is free beside the weights. */
const SHARE = { cpu: 8, cuda: 2 } as const;
/** Vectors of the hidden size that a layer keeps for each token; attention by tensor operations keeps more. */
const VECTORS = { cpu: 20, cuda: 40 } as const;

function binaryBytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.ceil(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

type CohortConfig = Pick<RunConfig, 'cohort' | 'batchSize' | 'maxLen' | 'gradientCheckpointing'>;

/**
 * `auto` takes as many adapters as have room for their activations with every sequence at max_len (images have their
 * fixed number of patches). On the CPU the room is a share of all memory, not of what happens to be free: with the
 * cohort the order of sums changes, and the same run on the same machine should give the same bits. Less than that free
 * makes the cohort smaller, and the reason says so. On CUDA it is a share of what the weights left free.
 */
export function chooseCohort(config: CohortConfig, info: BackboneInfo, memory: MachineMemory): Cohort {
  if (config.cohort !== 'auto') return { size: config.cohort, reason: 'it was asked for' };
  const kind = info.freeBytes === undefined ? 'cpu' : 'cuda';
  const bytes = jobBytes(config, info, VECTORS[kind]);
  const room = (info.freeBytes ?? memory.total) / SHARE[kind];
  const clamp = (size: number) => Math.min(MOST[kind], Math.max(1, Math.floor(size)));
  const size = clamp(room / bytes);
  const each = `one adapter's activations take up to ${binaryBytes(bytes)}`;
  if (kind === 'cpu' && size * bytes > memory.free) {
    const smaller = clamp(memory.free / bytes);
    return { size: smaller, reason: `${each} and only ${binaryBytes(memory.free)} of memory are free` };
  }
  const of = kind === 'cpu' ? `an eighth of the memory is` : `half of the device's free memory is`;
  return { size, reason: `${each}, ${of} ${binaryBytes(room)}, and ${MOST[kind]} are the most` };
}

/** Bytes of the activations that one adapter's batch keeps for its backward pass, at most. */
function jobBytes(config: CohortConfig, info: BackboneInfo, vectors: number): number {
  const { numLayers, hiddenSize } = info;
  // With checkpointing each layer keeps what it reads, and one layer at a time all of its own.
  const kept = config.gradientCheckpointing ? 2 * numLayers + vectors : vectors * numLayers;
  const tokens = info.input === 'images' ? info.maxPositions : config.maxLen;
  return config.batchSize * tokens * kept * hiddenSize * Float32Array.BYTES_PER_ELEMENT;
}
