// Makes `npx fltac` work inside a checkout: npm links a package's own bin only where it is installed as a dependency.
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';

const target = new URL('../dist/cli/main.js', import.meta.url);
const binFolder = new URL('../node_modules/.bin/', import.meta.url);
const link = new URL('fltac', binFolder);

if (existsSync(target) && existsSync(new URL('../node_modules', import.meta.url))) {
  chmodSync(target, 0o755);
  if (process.platform !== 'win32') {
    mkdirSync(binFolder, { recursive: true });
    rmSync(link, { force: true });
    symlinkSync('../../dist/cli/main.js', link);
  }
}
