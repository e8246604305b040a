/** An OpenAI-compatible endpoint for tests: replies, faults on demand, and a log of the requests. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface JudgeRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** the JSON body */
  body: { model: string; messages: { role: string; content: string }[]; [key: string]: unknown };
  /** what the user's message says, which holds prompt and answer */
  text: string;
  /** milliseconds since the server's start */
  at: number;
}

/** What happens to a request instead of a reply. */
export interface JudgeFault {
  /** tested against the user's message; default: any */
  match?: RegExp;
  /** how many requests it hits; default 1 */
  times?: number;
  status?: number;
  headers?: Record<string, string>;
  /** the whole body */
  body?: string;
  /** close the connection without an answer */
  reset?: boolean;
  /** close it in the middle of the body */
  cut?: boolean;
  /** never answer */
  hang?: boolean;
  /** begin the body, then fall silent */
  stall?: boolean;
}

export interface JudgeServer {
  /** the base address, ending in /v1 */
  url: string;
  requests: JudgeRequest[];
  faults: JudgeFault[];
  /** most requests that were open at once */
  mostOpen: number;
  close(): Promise<void>;
}

/** @param reply the judge's reply to a request */
export async function startJudge(
  reply: (request: JudgeRequest) => string | null | Promise<string | null> = () => '0.5',
  port = 0,
): Promise<JudgeServer> {
  const started = Date.now();
  let open = 0;
  const http = createServer((request, response) => {
    open += 1;
    server.mostOpen = Math.max(server.mostOpen, open);
    response.on('close', () => (open -= 1));
    void handle(request, response);
  });
  const server: JudgeServer = {
    url: '',
    requests: [],
    faults: [],
    mostOpen: 0,
    close: () =>
      new Promise((resolve) => {
        http.closeAllConnections();
        http.close(() => resolve());
      }),
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const kept = await readRequest(request, Date.now() - started);
    server.requests.push(kept);
    const fault = server.faults.find(({ match }) => match?.test(kept.text) ?? true);
    if (fault !== undefined) {
      fault.times = (fault.times ?? 1) - 1;
      if (fault.times <= 0) server.faults.splice(server.faults.indexOf(fault), 1);
      fail(response, fault);
      return;
    }
    const content = await reply(kept);
    const body = JSON.stringify({ id: 'x', object: 'chat.completion', choices: [{ index: 0, message: { content } }] });
    response.writeHead(200, { 'content-type': 'application/json' }).end(body);
  }

  await new Promise<void>((resolve) => http.listen(port, '127.0.0.1', resolve));
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/v1`;
  return server;
}

/** The same, closed when the running test ends. */
export async function judgeOf(...args: Parameters<typeof startJudge>): Promise<JudgeServer> {
  const server = await startJudge(...args);
  onTestFinished(() => server.close());
  return server;
}

async function readRequest(request: IncomingMessage, at: number): Promise<JudgeRequest> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const body = JSON.parse(Buffer.concat(parts).toString('utf8') || '{"messages":[]}') as JudgeRequest['body'];
  const text = body.messages.find(({ role }) => role === 'user')?.content ?? '';
  return { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body, text, at };
}

function fail(response: ServerResponse, fault: JudgeFault): void {
  if (fault.hang) return;
  if (fault.reset) {
    response.destroy();
    return;
  }
  const body = fault.body ?? '';
  const length = Buffer.byteLength(body);
  const broken = fault.cut === true || fault.stall === true;
  const size: Record<string, string> = broken ? { 'content-length': String(length + 100) } : {};
  response.writeHead(fault.status ?? 200, { 'content-type': 'application/json', ...size, ...fault.headers });
  if (!broken) response.end(body);
  else response.write(body || '{', () => (fault.cut ? response.destroy() : undefined));
}
