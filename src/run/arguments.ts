/** What a program in JavaScript may hand to the library's entry points by mistake, told in words before any work. */
import { CONFIG_KEYS, camelName, type RunConfig } from '../config/schema.js';
import { describeValue } from '../config/yaml.js';
import { FltacError } from '../errors.js';

/** @throws FltacError USAGE naming the function, for what neither makeConfig nor loadConfig made */
export function assertRunConfig(config: unknown, caller: string): asserts config is RunConfig {
  const given = objectOf(config);
  if (CONFIG_KEYS.every((key) => camelName(key) in given)) return;
  const found = 'config' in given ? 'what loadConfig returns: give its .config' : describeValue(config);
  throw new FltacError(
    'USAGE',
    `${caller}: expected a configuration, as makeConfig({ … }) or loadConfig({ … }).config gives it, found ${found}`,
  );
}

/** @throws FltacError USAGE naming the function, for options without a run's folder or without `log` and `signal` beside them */
export function assertRunOptions(options: unknown, context: unknown, caller: string): void {
  if (typeof objectOf(options)['folder'] !== 'string') {
    throw new FltacError(
      'USAGE',
      `${caller}: expected options with a run's folder, as { folder: 'results/glue_fltac' }, found ${describeValue(options)}`,
    );
  }
  const { log, signal } = objectOf(context);
  if (typeof log === 'object' && signal instanceof AbortSignal) return;
  throw new FltacError(
    'USAGE',
    `${caller}: expected { log, signal } as second argument, as { log: silentLog(), signal: new AbortController().signal }, ` +
      `found ${describeValue(context)}`,
  );
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
