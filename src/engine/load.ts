/** Loads the native addon. The only place that does; everything else goes through `index.ts`. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { FltacError } from '../errors.js';

/** Number of the addon's interface that this TypeScript is written for: `kAbiVersion` in native/addon.cc. */
export const NATIVE_ABI = 8;

/** Folder of package.json, seen from src/engine and from dist/engine alike. */
export const packageRoot = fileURLToPath(new URL('../../', import.meta.url));

/** Works in a checkout (as `npm run build:native` does) and wherever the package is installed. */
export const BUILD_COMMAND = 'npx fltac build';

/** The part of the addon that loading itself needs. */
interface AddonBase {
  readonly abiVersion: number;
  setErrorClass(errorClass: typeof FltacError): void;
  /** ends what is computing and waits for it */
  shutDown(): void;
}

/** The addon's exports as they come from the binary; `native.ts` types them. */
export type LoadedAddon = AddonBase & Readonly<Record<string, unknown>>;

/**
 * Sets the default for how OpenMP's idle threads wait, unless the user chose one. They spin by default, which slows every
 * other process on the machine and, with another busy process there, the engine itself (a step of 0.8 s took 5.3 s);
 * sleeping costs about 5 % on an idle machine. libgomp reads the variable once, while it is loaded with the addon, and
 * setting process.env on the main thread reaches the C environment it reads. In a worker thread process.env is a copy:
 * there the setting has no effect, unless the main thread has loaded the addon before.
 */
export function chooseWaitPolicy(env: NodeJS.ProcessEnv): void {
  const chosen = ['OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'].some((name) => env[name] !== undefined);
  if (!chosen) env['OMP_WAIT_POLICY'] = 'PASSIVE';
}

/** Compiled products that are kept in each cache: as fast as with 1024, and each holds memory. */
const CACHED_PRODUCTS = '64';

/**
 * Sets the default size of two caches of compiled matrix products, unless the user chose one: oneDNN's, and libtorch's in
 * front of it. They keep 1024 each by default, one for every shape met, and texts of many lengths make many shapes:
 * resident memory then grows for hundreds of rounds (docs/reliability.md).
 */
export function boundProductCaches(env: NodeJS.ProcessEnv): void {
  for (const name of ['ONEDNN_PRIMITIVE_CACHE_CAPACITY', 'LRU_CACHE_CAPACITY']) env[name] ??= CACHED_PRODUCTS;
}

let loaded: LoadedAddon | undefined;

/**
 * The addon, loaded once.
 * @throws NATIVE when it is not built, cannot be loaded, or has another interface than this TypeScript
 */
export function loadAddon(): LoadedAddon {
  if (loaded) return loaded;
  chooseWaitPolicy(process.env);
  boundProductCaches(process.env);
  const require = createRequire(import.meta.url);
  const bindings = require('bindings') as (options: { bindings: string; module_root: string }) => LoadedAddon;
  let addon: LoadedAddon;
  try {
    addon = bindings({ bindings: 'fltac', module_root: packageRoot });
  } catch (error) {
    throw new FltacError('NATIVE', explainLoadFailure(error), { cause: error });
  }
  if (addon.abiVersion !== NATIVE_ABI) {
    throw new FltacError(
      'NATIVE',
      `The native engine in build/ has interface ${String(addon.abiVersion)}, this fltac needs ${NATIVE_ABI}: ` +
        `it was built from other sources. Run: ${BUILD_COMMAND}`,
    );
  }
  addon.setErrorClass(FltacError);
  process.once('exit', () => addon.shutDown());
  loaded = addon;
  return addon;
}

/** What the loader's messages mean, in words. */
const LOAD_FAILURES: readonly (readonly [RegExp, string])[] = [
  [/Could not locate the bindings file/, 'it has not been built'],
  [
    /lib(torch|c10)\S*: cannot open shared object|Library not loaded: .*lib(torch|c10)/,
    'the libtorch it was built with is gone',
  ],
  [/GLIBC(XX)?_\d/, 'it was built on a newer system than this one'],
  [/undefined symbol/, 'the libtorch it finds is not the one it was built with'],
  [/invalid ELF header|wrong architecture|file too short/, 'the file is damaged or made for another kind of machine'],
  [/NODE_MODULE_VERSION|Module did not self-register/, 'it was built for another version of Node'],
];

/** Why loading failed, in one sentence without a full stop. */
export function loadFailure(detail: string): string {
  const cause = LOAD_FAILURES.find(([sign]) => sign.test(detail))?.[1] ?? 'the system refuses it';
  // For a missing file the loader lists every place it looked at: of no use to the reader.
  const quoted = detail.startsWith('Could not locate') ? '' : ` (${detail.split('\n')[0] ?? ''})`;
  return `The native engine cannot be loaded: ${cause}${quoted}`;
}

/** One message for a failed load: cause, what was found and expected, and the command that mends it. */
export function explainLoadFailure(error: unknown): string {
  const detail = error instanceof Error ? error.message : String(error);
  return (
    `${loadFailure(detail)}. Expected build/Release/fltac.node with interface ` +
    `${NATIVE_ABI} for Node ${process.versions.node} on ${process.platform}-${process.arch}. Run: ${BUILD_COMMAND}`
  );
}
