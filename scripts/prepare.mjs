// npm's `prepare`: compiles the TypeScript where dist/ is not newer than all that it is made of. npm runs this after
// `npm ci`, before it packs, and when `npx fltac` is first called in a checkout, where nobody should have to wait for it.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

if (isBuilt()) {
  // npm ci has thrown it away with all else in node_modules.
  await import('./link-bin.mjs');
  process.exit(0);
}
if (!existsSync(join(root, 'node_modules', 'typescript')) && process.env.npm_command === 'exec') {
  // A failure here would leave npx a folder that it cannot use, nor mend, ever after.
  console.error('fltac: this checkout is not built: run npm ci && npm run build:native, then npx fltac');
  process.exit(0);
}
process.exit(spawnSync('npm', ['run', 'build:ts'], { cwd: root, stdio: 'inherit', shell: true }).status ?? 1);

/** Whether each source has its compiled file, none older than any source. */
function isBuilt() {
  const sources = readdirSync(join(root, 'src'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  const settings = ['tsconfig.json', 'tsconfig.build.json'];
  const newest = Math.max(...[...settings, ...sources.map((name) => join('src', name))].map(timeOf));
  return sources.every((name) => timeOf(join('dist', name.replace(/\.ts$/, '.js'))) >= newest);
}

/** When a file was last written; of one that is absent, before all others. */
function timeOf(name) {
  return statSync(join(root, name), { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}
