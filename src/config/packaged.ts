/** The example configurations that come with the package, and their data. */
import { existsSync } from 'node:fs';
import { isAbsolute, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The one folder of the package that documents and hints name files of. */
const FOLDER = `configs${sep}`;

/**
 * Where the file of a path such as configs/glue_bert.yaml is: below the current folder, or else, where it is there, in the
 * package, so that commands can be given from any folder as the documents have them. Other paths stay as they are.
 */
export function packagedFile(path: string): string {
  if (isAbsolute(path) || !normalize(path).startsWith(FOLDER) || existsSync(path)) return path;
  // src/config and dist/config lie equally deep below the package.
  const own = join(fileURLToPath(new URL('../../', import.meta.url)), path);
  return existsSync(own) ? own : path;
}
