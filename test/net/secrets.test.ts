import { describe, expect, it } from 'vitest';
import { redactor } from '../../src/net/secrets.js';

describe('secrets', () => {
  const redact = redactor({
    HF_TOKEN: 'hf_planted_token',
    OPENAI_API_KEY: 'sk-planted-key',
    MIRROR_PASSWORD: 'hf_planted_token_and_more',
    SOME_TOKEN: 'short',
    HTTPS_PROXY: 'http://proxy.example:8080',
    HOME: '/home/someone',
  });

  it.each([
    ['401: Bearer hf_planted_token is not valid', '401: Bearer *** is not valid'],
    ['keys sk-planted-key, sk-planted-key', 'keys ***, ***'],
    ['hf_planted_token_and_more', '***'],
    ['connect http://user:pass@proxy.example:8080 failed', 'connect http://***@proxy.example:8080 failed'],
    ['https://hf_token@huggingface.co/a/b', 'https://***@huggingface.co/a/b'],
  ])('%j is told as %j', (text, shown) => expect(redact(text)).toBe(shown));

  it.each([
    'a short word',
    'http://proxy.example:8080 in /home/someone',
    'me@example.org',
    'https://a.example/@scope/name',
  ])('%j is told as it is', (text) => expect(redact(text)).toBe(text));
});
