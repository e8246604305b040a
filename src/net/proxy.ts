/** Proxies as the environment names them. */

/** Proxy URLs and the hosts that go without one, as undici's EnvHttpProxyAgent takes them. */
export interface ProxySettings {
  httpProxy: string;
  httpsProxy: string;
  noProxy: string;
}

/** HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or their lower-case forms, which win. */
export function proxySettings(env: NodeJS.ProcessEnv = process.env): ProxySettings {
  const first = (...names: string[]) => names.map((name) => env[name]).find((value) => value) ?? '';
  return {
    httpProxy: first('http_proxy', 'HTTP_PROXY'),
    httpsProxy: first('https_proxy', 'HTTPS_PROXY'),
    noProxy: first('no_proxy', 'NO_PROXY'),
  };
}
