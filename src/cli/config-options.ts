/** The flags of commands that take a configuration, derived from the schema. */
import type { Command } from 'commander';
import { defaultText, helpText } from '../config/docs.js';
import type { Fault } from '../config/faults.js';
import type { ConfigSources } from '../config/index.js';
import { CONFIG_KEYS, GROUPS, camelName, flagName, keyRow } from '../config/schema.js';
import type { ConfigKey } from '../config/schema.js';
import { gatherValues, pathOf } from './arguments.js';

/** Keys that have a named flag. */
export const FLAG_KEYS: readonly ConfigKey[] = CONFIG_KEYS.filter((key) => keyRow(key).flag);

/** The commands with the flags of addConfigOptions, each with what is wrong with its other flags' values. */
const CONFIG_COMMANDS = new WeakMap<Command, Fault[]>();

/** Whether a command has the flags of addConfigOptions. */
export function takesConfig(command: Command): boolean {
  return CONFIG_COMMANDS.has(command);
}

/**
 * Adds --config, --override and the named flags of `keys`. Unknown flags, and wrong values of those that were added
 * before, are kept for `configSources` to report.
 */
export function addConfigOptions(command: Command, keys: readonly ConfigKey[] = FLAG_KEYS): Command {
  CONFIG_COMMANDS.set(command, gatherValues(command));
  command
    .option('--config <file>', 'YAML file with config keys')
    .option('--override <key=value...>', 'set any config key; the value is read as YAML, so lr=5e-4 is a number')
    .allowUnknownOption()
    .allowExcessArguments();
  for (const key of keys) {
    const { group, kind } = keyRow(key);
    const option = command.createOption(`${flagName(key)} <${kind.placeholder}>`, helpText(key));
    command.addOption(option.helpGroup(`${GROUPS[group]}:`));
  }
  return command;
}

/** Help for the keys without a flag. */
export function overrideHelp(): string {
  const keys = CONFIG_KEYS.filter((key) => !FLAG_KEYS.includes(key));
  const width = Math.max(...keys.map((key) => key.length));
  const lines = keys.map((key) => `  ${key.padEnd(width)}  (default: ${defaultText(key)})`);
  return `\nFurther keys, for --override or the file (docs/configuration.md tells their meaning):\n${lines.join('\n')}`;
}

/** What the user gave this command as configuration. */
export function configSources(command: Command, env: NodeJS.ProcessEnv): ConfigSources {
  const options = command.opts<Record<string, unknown>>();
  const flags = Object.fromEntries(
    FLAG_KEYS.flatMap((key) => {
      const value = options[camelName(key)];
      return typeof value === 'string' ? [[key, value]] : [];
    }),
  ) as Partial<Record<ConfigKey, string>>;
  return {
    file: options['config'] as string | undefined,
    overrides: (options['override'] as string[] | undefined) ?? [],
    flags,
    unknownFlags: strangers(command.args),
    command: pathOf(command),
    faults: CONFIG_COMMANDS.get(command) ?? [],
    knownFlags: command.options.flatMap(({ long, hidden }) => (long === undefined || hidden ? [] : long)),
    env,
  };
}

/** The unknown flags, without the words that look like their values, and the words that belong to nothing. */
function strangers(args: readonly string[]): string[] {
  return args
    .filter((argument, index) => argument.startsWith('-') || !/^-[^=]*$/.test(args[index - 1] ?? ''))
    .map((argument) => (argument.startsWith('-') ? argument.replace(/=.*$/s, '') : argument));
}
