/** Whether a backbone can do a scenario's tasks; known from its config.json, before weights or data are downloaded. */
import { scenarioRow } from '../config/scenarios.js';
import { defaultOf, type RunConfig } from '../config/schema.js';
import type { ArchitectureInfo } from '../engine/types.js';
import { FltacError } from '../errors.js';

type Kind = Pick<ArchitectureInfo, 'input' | 'output'>;

const KINDS: Readonly<Record<Kind['input'], Readonly<Record<Kind['output'], string>>>> = {
  tokens: { classes: 'a text encoder', next_token: 'a language model' },
  images: { classes: 'an image encoder', next_token: 'a model from images to text' },
};

/** @throws FltacError USAGE where the scenario needs another kind of backbone */
export function assertCompatible(
  config: Pick<RunConfig, 'scenario' | 'data' | 'modelName'>,
  info: Kind & Pick<ArchitectureInfo, 'family'>,
): void {
  const { scenario, data, modelName } = config;
  const needed: Kind = scenarioRow(config);
  if (needed.input === info.input && needed.output === info.output) return;
  const example = defaultOf('model_name', { scenario, data, method: 'fltac', env: {} }) as string;
  throw new FltacError(
    'USAGE',
    `scenario ${scenario} needs ${kindName(needed)}, such as ${example}; model_name ${modelName} is ` +
      `${kindName(info)} (${info.family}): choose another model_name or scenario`,
  );
}

function kindName({ input, output }: Kind): string {
  return KINDS[input][output];
}
