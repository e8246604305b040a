import { totalmem } from 'node:os';

/** Bytes this process may use: the machine's memory, or a container's limit. */
export function memoryLimit(): number {
  // Without a limit Node gives 0 or a number beyond any memory.
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(totalmem(), limit) : totalmem();
}
