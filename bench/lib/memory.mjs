// What Linux says of the memory of this process.
import { readFileSync } from 'node:fs';

/** A line of /proc/self/status in bytes: "VmRSS" is resident now, "VmHWM" was so at most. Throws where there is no such line. */
export function memoryOf(field) {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  if (line === null) throw new Error(`/proc/self/status has no ${field}`);
  return 1024 * Number(line[1]);
}
