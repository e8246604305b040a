import { describe, expect, it } from 'vitest';
import { judgeEndpoint, sendsKeyInTheClear } from '../../src/judge/settings.js';

const endpoint = (env: NodeJS.ProcessEnv, baseUrl?: string) => judgeEndpoint({ baseUrl, timeoutMs: 1000 }, env);

describe('the settings of a judge', () => {
  it('take address and key from the environment, and the address rather from the option', () => {
    expect(endpoint({ OPENAI_API_KEY: 'k' })).toMatchObject({ baseUrl: 'https://api.openai.com/v1', key: 'k' });
    const env = { OPENAI_API_KEY: ' k ', OPENAI_BASE_URL: 'http://localhost:8000/v1/' };
    expect(endpoint(env)).toMatchObject({ baseUrl: 'http://localhost:8000/v1', key: 'k' });
    expect(endpoint(env, 'https://other/v1').baseUrl).toBe('https://other/v1');
  });

  it('need a key only where no address is given', () => {
    expect(() => endpoint({})).toThrow(
      /api\.openai\.com\/v1 needs an API key: set OPENAI_API_KEY; or set OPENAI_BASE_URL/,
    );
    expect(endpoint({ OPENAI_BASE_URL: 'http://localhost:1/v1' }).key).toBeUndefined();
  });

  it.each(['localhost:8000', 'ftp://x/v1', 'https://user:secret@x/v1', 'https://x/v1?key=secret', 'x y'])(
    'refuse the address %s without repeating it',
    (baseUrl) => {
      try {
        endpoint({}, baseUrl);
      } catch (error) {
        expect(error).toMatchObject({ code: 'USAGE' });
        expect((error as Error).message).not.toContain(baseUrl);
        return;
      }
      throw new Error('it was accepted');
    },
  );

  it.each([16.1, 1.005, 1e-9])('take a timeout of %s seconds', (seconds) => {
    const { timeoutMs } = judgeEndpoint({ baseUrl: 'http://localhost:1', timeoutMs: 1000 * seconds }, {});
    expect(() => AbortSignal.timeout(timeoutMs)).not.toThrow();
    expect(Math.abs(timeoutMs - 1000 * seconds)).toBeLessThanOrEqual(1);
  });

  it('refuse a key with characters that no header takes, without repeating it', () => {
    expect(() => endpoint({ OPENAI_API_KEY: 'a\nb' })).toThrow(/^OPENAI_API_KEY holds characters that no key has/);
  });

  it('know where the key would be readable on the way', () => {
    const clear = (baseUrl: string, env: NodeJS.ProcessEnv = { OPENAI_API_KEY: 'k' }) =>
      sendsKeyInTheClear(endpoint(env, baseUrl));
    expect(['http://judge.example/v1', 'http://localhost.example/v1'].map((url) => clear(url))).toEqual([true, true]);
    expect(
      ['https://judge.example/v1', 'http://localhost:1/v1', 'http://127.0.0.1/v1', 'http://[::1]:1/v1'].map((url) =>
        clear(url),
      ),
    ).toEqual([false, false, false, false]);
    expect(clear('http://judge.example/v1', {})).toBe(false);
  });
});
