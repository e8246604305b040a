/** Keeps JSON that is nested without sense from code that walks it by recursion, which would end the process. */
import { FltacError } from '../errors.js';

/** Files of models nest a handful of times. */
const MOST_DEPTH = 64;

/** @throws FORMAT where brackets of a JSON text nest deeper than those of any sound file */
export function assertShallow(text: string, path: string): void {
  let depth = 0;
  // Strings are passed over as a whole: brackets in them are text.
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') depth += 1;
    else if (token === ']' || token === '}') depth -= 1;
    if (depth <= MOST_DEPTH) continue;
    throw new FltacError('FORMAT', `${path}: its JSON is nested more than ${MOST_DEPTH} deep: no file of a model is`);
  }
}
