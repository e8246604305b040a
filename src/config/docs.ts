/** `docs/configuration.md` and the words that `--help` uses for keys, from the schema. */
import { CUSTOM_TITLE, SCENARIOS, type NamedScenario } from './scenarios.js';
import { CONFIG_KEYS, GROUPS, isDerived, keyRow } from './schema.js';
import type { ConfigKey, ConfigValue, Group } from './schema.js';

const NAMED = Object.keys(SCENARIOS) as NamedScenario[];

/** A key's default for people: `20; quickstart: 6`. */
export function defaultText(key: ConfigKey): string {
  const { default: common } = keyRow(key);
  const special = NAMED.flatMap((scenario) => {
    const value = SCENARIOS[scenario].defaults[key];
    return value === undefined ? [] : [`${scenario}: ${valueText(value)}`];
  });
  return [isDerived(common) ? common.text : valueText(common), ...special].join('; ');
}

/** The text of docs/configuration.md, before formatting. */
export function configurationMarkdown(): string {
  const groups = Object.keys(GROUPS) as Group[];
  return [
    '# Configuration',
    '<!-- Made from src/config/keys/ by scripts/make-config-docs.mjs: change the keys, not this page. -->',
    'A configuration is a YAML file of these keys (`fltac train --config file.yaml`). Keys marked *flag* also have a ' +
      'named flag, spelt with `-` or `_` (`--n-clients 5`); every key can be given as `--override key=value`, with the ' +
      'value read as YAML. Named flags win over `--override`, which wins over the file, which wins over the defaults of ' +
      'the scenario, which win over the common ones. Unknown keys and bad values are all reported together, before ' +
      'anything is downloaded, and end the command with exit code 2.',
    ...groups.map(groupSection),
    '## Scenarios',
    [
      ...NAMED.map((name) => `- \`${name}\`: ${SCENARIOS[name].title} (${SCENARIOS[name].tasks.join(', ')})`),
      `- \`custom\`: ${CUSTOM_TITLE}`,
    ].join('\n'),
    '',
  ].join('\n\n');
}

function groupSection(group: Group): string {
  const rows = CONFIG_KEYS.filter((key) => keyRow(key).group === group).map(tableRow);
  return [`## ${GROUPS[group]}\n`, '| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows].join(
    '\n',
  );
}

function tableRow(key: ConfigKey): string {
  const { flag, kind, meaning } = keyRow(key);
  const cells = [`\`${key}\`${flag ? ' (*flag*)' : ''}`, kind.expected, defaultText(key), meaning];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('<', '&lt;')).join(' | ')} |`;
}

function valueText(value: ConfigValue): string {
  if (value === null) return 'none';
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return value.join(', ');
  return JSON.stringify(value);
}

/** A line of help: the meaning and the default. */
export function helpText(key: ConfigKey): string {
  const { kind, meaning } = keyRow(key);
  const words = kind.words && kind.words.length > 1 ? ` (${kind.words.join(', ')})` : '';
  return `${meaning}${meaning.includes(kind.words?.[0] ?? '\0') ? '' : words} (default: ${defaultText(key)})`;
}
