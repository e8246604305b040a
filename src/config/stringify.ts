/** The resolved configuration as the `config.yaml` of a run's folder. */
import { dump } from 'js-yaml';
import { CONFIG_KEYS, GROUPS, camelName, keyRow } from './schema.js';
import type { ConfigKey, Group, RunConfig } from './schema.js';

/** Every key under its group's comment line; loading the text gives the same configuration. */
export function stringifyConfig(config: RunConfig): string {
  const groups = Object.keys(GROUPS) as Group[];
  return groups.map((group) => `# ${GROUPS[group]}\n${groupKeys(group).map(line).join('')}`).join('\n');

  function line(key: ConfigKey): string {
    const flowLevel = keyRow(key).kind.reading === 'mapping' ? 3 : 1;
    const value = config[camelName(key)];
    // A block of text that ends in empty lines would end the document after it ("...").
    const forceQuotes = JSON.stringify(value).includes('\\n');
    return dump({ [key]: value }, { flowLevel, forceQuotes, lineWidth: -1 });
  }
}

function groupKeys(group: Group): ConfigKey[] {
  return CONFIG_KEYS.filter((key) => keyRow(key).group === group);
}
