/** The tokenizer and the JSON files of a model's folder. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { FltacError } from '../errors.js';

export type JsonObject = Readonly<Record<string, unknown>>;

export interface ModelTokenizer {
  /** neither pads nor truncates */
  tokenizer: Tokenizer;
  /** a hash of tokenizer.json */
  fingerprint: string;
  /** config.json */
  config: JsonObject;
}

/**
 * Reads tokenizer.json and config.json of a model's folder.
 * @throws IO where one is missing, FORMAT where it is broken, USAGE where the model has fewer than `maxLen` positions
 */
export async function openTokenizer(folder: string, maxLen: number): Promise<ModelTokenizer> {
  const config = parseObject(await readText(folder, 'config.json'), join(folder, 'config.json'));
  const positions = positionsOf(config);
  if (positions !== undefined && maxLen > positions) {
    throw new FltacError('USAGE', `max_len is ${maxLen}, the model in ${folder} has ${positions} positions: lower it`);
  }
  const text = await readText(folder, 'tokenizer.json');
  const tokenizer = parseTokenizer(text, join(folder, 'tokenizer.json'));
  tokenizer.disablePadding();
  tokenizer.disableTruncation();
  return { tokenizer, fingerprint: createHash('sha256').update(text).digest('hex'), config };
}

/** The longest sequence; RoBERTa numbers its positions from the padding id + 1 on (Positions in native/model/families.h). */
function positionsOf(config: JsonObject): number | undefined {
  const positions = config['max_position_embeddings'];
  if (typeof positions !== 'number') return undefined;
  if (config['model_type'] !== 'roberta') return positions;
  const padding = config['pad_token_id'];
  return positions - (typeof padding === 'number' ? padding : 1) - 1;
}

/** A JSON file that a model may lack. @throws IO, FORMAT */
export async function readOptionalJson(folder: string, name: string): Promise<JsonObject | undefined> {
  const path = join(folder, name);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FltacError('IO', `${path} cannot be read (${String(cause)})`, { cause });
  });
  return text === undefined ? undefined : parseObject(text, path);
}

async function readText(folder: string, name: string): Promise<string> {
  return readFile(join(folder, name), 'utf8').catch((error: unknown) => {
    const hint =
      name === 'tokenizer.json'
        ? '; save it with the fast tokenizer: AutoTokenizer.from_pretrained(…).save_pretrained(…)'
        : '';
    throw new FltacError(
      'IO',
      `the model needs ${join(folder, name)}, which cannot be read (${String(error)})${hint}`,
      {
        cause: error,
      },
    );
  });
}

function parseObject(text: string, path: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
    throw new Error('it holds another value');
  } catch (error) {
    throw new FltacError('FORMAT', `${path}: expected a JSON object (${String(error)})`, { cause: error });
  }
}

function parseTokenizer(text: string, path: string): Tokenizer {
  let tokenizer: Tokenizer;
  try {
    tokenizer = Tokenizer.fromString(text);
  } catch (error) {
    throw new FltacError('FORMAT', `${path}: no tokenizer that can be read (${String(error)})`, { cause: error });
  }
  const unknown = unknownSpecialToken((JSON.parse(text) as JsonObject)['post_processor']);
  if (unknown === undefined) return tokenizer;
  throw new FltacError(
    'FORMAT',
    `${path}: its post_processor uses the special token ${JSON.stringify(unknown).slice(0, 60)} without describing it`,
  );
}

interface PostProcessor {
  type?: string;
  /** of a sequence of them */
  processors?: readonly PostProcessor[];
  special_tokens?: Readonly<Record<string, unknown>>;
  single?: readonly TemplatePiece[];
  pair?: readonly TemplatePiece[];
}

interface TemplatePiece {
  SpecialToken?: { id: string };
}

/**
 * A special token that a template uses and `special_tokens` does not describe. The library (0.23.2) takes such a file, and
 * ends the process at the first text. It has read the file, so that the parts have these types.
 */
function unknownSpecialToken(processor: unknown): string | undefined {
  const {
    type,
    processors = [],
    special_tokens: known = {},
    single = [],
    pair = [],
  } = (processor ?? {}) as PostProcessor;
  if (type === 'Sequence') return processors.map(unknownSpecialToken).find((found) => found !== undefined);
  if (type !== 'TemplateProcessing') return undefined;
  const used = [...single, ...pair].flatMap(({ SpecialToken: token }) => (token === undefined ? [] : [token.id]));
  return used.find((id) => !Object.hasOwn(known, id));
}
