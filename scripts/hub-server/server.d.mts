/** What a fault does to the requests it is meant for; without effect fields it only counts as a match. */
export interface HubFault {
  /** which server: the Hub itself (default) or the content server that LFS files are redirected to */
  on?: 'hub' | 'cdn';
  method?: string;
  /** tested against path and query */
  match?: RegExp;
  /** how many requests it hits; default 1 */
  times?: number;
  /** wait before answering */
  delayMs?: number;
  /** close the connection without an answer */
  reset?: boolean;
  /** answer with this status, X-Error-Code `code`, `message` and `headers` (e.g. retry-after) */
  status?: number;
  code?: string;
  message?: string;
  headers?: Record<string, string>;
  /** fields put over the repository's description */
  json?: Record<string, unknown>;
  /** entries added to a listing */
  entries?: readonly Record<string, unknown>[];
  /** host that the listing's next-page link names */
  linkTo?: string;
  /** cut the connection after this many bytes of the body */
  truncateAt?: number;
  /** send no content-length (and end a truncated body cleanly) */
  chunked?: boolean;
  /** content-length and size within content-range, if they are to be wrong */
  sayLength?: number;
  saySize?: number;
  etag?: string;
  /** send the whole file whatever range is asked for */
  ignoreRange?: boolean;
  /** flip bits of the body */
  corrupt?: boolean;
  /** size of the body's pieces and the wait after each */
  chunkBytes?: number;
  chunkDelayMs?: number;
  /** after the bytes, leave the connection open in silence */
  hang?: boolean;
}

export interface HubServerOptions {
  /** folders laid out as models/<org>/<name>/... and datasets/<org>/<name>/... */
  roots: readonly string[];
  /** repositories of their own: "models/org/name" to a folder */
  mounts?: Readonly<Record<string, string>>;
  host?: string;
  /** 0 (default) picks a free one */
  port?: number;
  /** the token that is taken as valid; without it every token is */
  token?: string;
  /** repositories that need this very token: "models/org/name" to the token */
  gated?: Readonly<Record<string, string>>;
  /** names of revisions that exist besides main and the commit */
  revisions?: readonly string[];
  /** redirect LFS files to a second server on another port, as the Hub does */
  cdn?: boolean;
  /** entries on a page of a listing */
  pageSize?: number;
}

export interface HubRequest {
  where: 'hub' | 'cdn';
  method: string;
  path: string;
  headers: Record<string, string | string[] | undefined>;
  /** set when the answer has been sent */
  status: number;
}

export interface HubServer {
  /** e.g. "http://127.0.0.1:40001": the value for HF_ENDPOINT */
  readonly url: string;
  readonly cdnUrl: string;
  readonly requests: HubRequest[];
  readonly faults: HubFault[];
  reset(): void;
  close(): Promise<void>;
}

export function startHubServer(options: HubServerOptions): Promise<HubServer>;
