// Checks (or with --write applies) clang-format over native/. The formatter is a WebAssembly build from the npm
// registry, so that every machine formats with the same version.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format } from '@wasm-fmt/clang-format';

const root = fileURLToPath(new URL('..', import.meta.url));
const write = process.argv.includes('--write');
const style = readFileSync(join(root, '.clang-format'), 'utf8');

const files = ['native', 'test/native']
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)))
  .filter((name) => /\.(cc|h|cu|cuh)$/.test(name))
  .sort();
const wrong = [];
for (const name of files) {
  const source = readFileSync(join(root, name), 'utf8');
  const formatted = format(source, name, style);
  if (formatted === source) continue;
  if (write) writeFileSync(join(root, name), formatted);
  else wrong.push(name);
}
if (wrong.length > 0) {
  console.error(`not formatted (run \`npm run format\`):\n  ${wrong.join('\n  ')}`);
  process.exitCode = 1;
}
