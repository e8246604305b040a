/** Damages texts (JSON, YAML, CSV) token by token: values, names, brackets and whole pieces. */
import { tellingNumber, type Draws } from './draws.js';

/** Values that parsers go wrong at. */
export const ODD_JSON = [
  ...['null', 'true', '-1', '-0', '1.5', '1e3', '1e308', '1e999', '18446744073709551616', '00', '[]', '{}', '[0,0]'],
  ...[
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"../../x"',
    '"/etc/passwd"',
    '"a\\\\b"',
    '"__proto__"',
    'NaN',
    "'a'",
    '"a',
    '\\',
  ],
];

/**
 * Changes one to three tokens of a text.
 * @param pattern matches one token; what lies between tokens stays
 * @param odd tokens to put in besides those of the text
 */
export function damageTokens(draws: Draws, text: string, pattern: RegExp, odd: readonly string[]): string {
  const tokens = text.match(pattern) ?? [];
  for (let left = 1 + draws.below(3); left > 0 && tokens.length > 0; left--) damageOne(draws, tokens, odd);
  return tokens.join('');
}

function damageOne(draws: Draws, tokens: string[], odd: readonly string[]): void {
  const at = draws.below(tokens.length);
  switch (draws.below(9)) {
    case 0:
      tokens.splice(at, 1);
      return;
    case 1:
      tokens.splice(at, 0, draws.of(tokens));
      return;
    case 2: {
      const other = draws.below(tokens.length);
      [tokens[at], tokens[other]] = [tokens[other]!, tokens[at]!];
      return;
    }
    case 3: {
      const piece = tokens.slice(at, at + 1 + draws.below(24));
      for (let left = 1 + draws.below(8); left > 0; left--) tokens.splice(at, 0, ...piece);
      return;
    }
    case 4: {
      const depth = draws.oneIn(50) ? 20_000 : 1 + draws.below(24);
      tokens[at] = `${'['.repeat(depth)}${tokens[at]!}${']'.repeat(draws.oneIn(4) ? 0 : depth)}`;
      return;
    }
    default:
      tokens[at] = otherValue(draws, tokens[at]!, odd);
  }
}

function otherValue(draws: Draws, token: string, odd: readonly string[]): string {
  if (/^\d+$/.test(token) && !draws.oneIn(4)) return String(tellingNumber(draws, Number(token.slice(0, 15))));
  if (draws.oneIn(60)) return 'x'.repeat(100_000);
  return draws.of(odd);
}

/** Tokens of JSON. */
export const JSON_TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+|\s+|"/g;
