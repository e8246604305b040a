import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cacheFromEnvironment, hubSettings } from '../../../src/data/hub/settings.js';

describe('hubSettings', () => {
  it('reaches huggingface.co, online, without a token, where the environment says nothing', () => {
    const settings = hubSettings('/cache', {});
    expect(settings).toMatchObject({
      endpoint: 'https://huggingface.co',
      token: undefined,
      offline: false,
      cacheDir: '/cache',
    });
  });

  it('takes endpoint, token and proxies from the environment', () => {
    const settings = hubSettings('/cache', {
      HF_ENDPOINT: 'http://mirror.example/hub/',
      HF_TOKEN: ' tok_1\n',
      HTTPS_PROXY: 'http://proxy.example:3128',
      no_proxy: 'localhost',
    });
    expect(settings).toMatchObject({ endpoint: 'http://mirror.example/hub', token: 'tok_1' });
    expect(settings.proxy).toEqual({ httpProxy: '', httpsProxy: 'http://proxy.example:3128', noProxy: 'localhost' });
  });

  it.each(['1', 'true', 'YES', 'on'])('is offline with HF_HUB_OFFLINE=%s', (value) => {
    expect(hubSettings('/cache', { HF_HUB_OFFLINE: value }).offline).toBe(true);
  });

  it.each(['0', '', 'false', 'no'])('is online with HF_HUB_OFFLINE=%s', (value) => {
    expect(hubSettings('/cache', { HF_HUB_OFFLINE: value }).offline).toBe(false);
  });

  it.each(['ftp://x.example', 'not an address', 'https://user:secret@x.example'])(
    'refuses the endpoint %s',
    (endpoint) => {
      expect(() => hubSettings('/cache', { HF_ENDPOINT: endpoint })).toThrow(
        /HF_ENDPOINT must be an http\(s\) address/,
      );
      expect(() => hubSettings('/cache', { HF_ENDPOINT: endpoint })).not.toThrow(/secret/);
    },
  );

  it('refuses a token with other characters, without repeating it', () => {
    expect(() => hubSettings('/cache', { HF_TOKEN: 'hf_abc def' })).toThrow(
      /^HF_TOKEN holds characters that no token has/,
    );
  });

  it('waits as long as HF_HUB_DOWNLOAD_TIMEOUT says', () => {
    expect(hubSettings('/cache', { HF_HUB_DOWNLOAD_TIMEOUT: '2.5' }).timeouts).toMatchObject({
      headersMs: 2_500,
      bodyMs: 2_500,
    });
    expect(hubSettings('/cache', { HF_HUB_DOWNLOAD_TIMEOUT: '' }).timeouts.bodyMs).toBe(60_000);
    for (const value of ['0', 'soon', '-1', '1e9']) {
      expect(() => hubSettings('/cache', { HF_HUB_DOWNLOAD_TIMEOUT: value })).toThrow(
        `HF_HUB_DOWNLOAD_TIMEOUT must be seconds, above 0 and at most 3600, not ${value}`,
      );
    }
  });

  it('makes the cache folder absolute, ~ included', () => {
    expect(hubSettings('./hf_cache', {}).cacheDir).toBe(join(process.cwd(), 'hf_cache'));
    expect(hubSettings('~/hf', {}).cacheDir).toBe(join(homedir(), 'hf'));
  });
});

describe('cacheFromEnvironment', () => {
  it('prefers HF_HUB_CACHE to the older name, and both to HF_HOME', () => {
    const all = { HF_HUB_CACHE: '/a', HUGGINGFACE_HUB_CACHE: '/b', HF_HOME: '/c' };
    expect(cacheFromEnvironment(all)).toBe('/a');
    expect(cacheFromEnvironment({ ...all, HF_HUB_CACHE: '' })).toBe('/b');
    expect(cacheFromEnvironment({ HF_HOME: '/c' })).toBe('/c/hub');
    expect(cacheFromEnvironment({})).toBeUndefined();
  });
});
