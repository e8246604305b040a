import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { expect, it } from 'vitest';
import { configurationMarkdown } from '../../src/config/docs.js';

it('docs/configuration.md is what the schema says (npm run build:ts && node scripts/make-config-docs.mjs)', async () => {
  const path = new URL('../../docs/configuration.md', import.meta.url).pathname;
  const options = { ...(await resolveConfig(path)), parser: 'markdown' as const };
  expect(readFileSync(path, 'utf8')).toBe(await format(configurationMarkdown(), options));
});
