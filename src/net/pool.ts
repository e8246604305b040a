/**
 * Connections for undici's agents, with a way around a fault of its releases for this Node: a body that is read slowly
 * pauses the parser, and where the server then closes the connection undici 7 fails an assertion in an event handler,
 * which nobody can catch, so that the process ends (nodejs/undici#5360; mended in undici 8, which needs Node 22).
 */
import type { Socket } from 'node:net';
import { buildConnector, Pool } from 'undici';

/** What of undici's parser of a connection is needed here. */
interface Parser {
  paused: boolean;
  ptr: unknown;
  llhttp: { llhttp_resume: (parser: unknown) => void };
  /** goes on with what has arrived; for a destroyed socket it does nothing */
  resume: () => void;
}

/** Takes the place of undici's own pool: the option `factory` of its agents. */
export function makePool(origin: string | URL, options: object): Pool {
  const { connect } = options as Pool.Options;
  const open = typeof connect === 'function' ? connect : buildConnector({ ...connect });
  return new Pool(origin, {
    ...options,
    connect: (to, done) =>
      open(to, (...outcome) => {
        // Of a connection that failed the types say null; it is undefined.
        if (outcome[1]) guard(outcome[1]);
        done(...outcome);
      }),
  });
}

/** Its listeners are there before undici's. */
function guard(socket: Socket): void {
  socket.on('end', () => finish(parserOf(socket)));
  for (const event of ['error', 'close']) socket.on(event, () => release(parserOf(socket)));
}

/** All has arrived: a body whose length is known ends when the parser goes on, one without when it is told the end. */
function finish(parser: Parser | undefined): void {
  if (parser?.paused) parser.resume();
  if (parser?.paused) parser.llhttp.llhttp_resume(parser.ptr);
  release(parser);
}

/** What is not whole ends with undici's error for a connection that was closed. */
function release(parser: Parser | undefined): void {
  if (parser?.paused) parser.paused = false;
}

/** undici keeps it on the socket under a symbol of its own; undefined where it does not. */
function parserOf(socket: Socket): Parser | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'parser');
  if (symbol === undefined) return undefined;
  const parser = (socket as unknown as Record<symbol, unknown>)[symbol];
  const known =
    typeof parser === 'object' && parser !== null && ['paused', 'resume', 'llhttp'].every((name) => name in parser);
  return known ? (parser as Parser) : undefined;
}
