// Writes docs/configuration.md from the config schema: npm run build:ts && node scripts/make-config-docs.mjs
import { renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { configurationMarkdown } from '../dist/config/docs.js';

const path = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));
const text = await format(configurationMarkdown(), { ...(await resolveConfig(path)), parser: 'markdown' });
const partial = `${path}.tmp-${process.pid}`;
writeFileSync(partial, text);
renameSync(partial, path);
console.log(`wrote ${path}`);
