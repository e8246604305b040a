import { totalmem } from 'node:os';

/** Bytes this process may use: the machine's memory, or a container's limit. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(totalmem(), limit) : totalmem();
}
