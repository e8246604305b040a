// A server that closes its connection while the body is read slowly: undici 7 by itself ends the process.
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Agent, fetch } from 'undici';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { makePool } from '../../src/net/pool.js';

let server: Server;
let agent: Agent;
let crashes: unknown[];
const noteCrash = (error: unknown) => crashes.push(error);

beforeEach(() => {
  agent = new Agent({ factory: makePool, bodyTimeout: 5_000 });
  crashes = [];
  // vitest has listeners of its own that end the run.
  const theirs = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', noteCrash);
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException');
    theirs.forEach((listener) => process.on('uncaughtException', listener));
  });
});
afterEach(async () => {
  await agent.destroy();
  server.close();
});

/** What is read of an answer, its body left alone for a while. */
async function readLate(answer: (socket: Socket) => void): Promise<string> {
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const response = await fetch(url, { dispatcher: agent });
  await new Promise((resolve) => setTimeout(resolve, 100));
  return response.text();
}

const head = (more = '') => `HTTP/1.1 200 OK\r\n${more}connection: close\r\n\r\n`;

describe.each([20_000, 65_536, 300_000])('a body of %d bytes whose connection is closed while nobody reads', (size) => {
  const body = 'a'.repeat(size);

  it('arrives whole where its length is told', async () => {
    const text = await readLate((socket) => {
      socket.write(head(`content-length: ${size}\r\n`));
      setTimeout(() => socket.end(body), 5);
    });
    expect(text.length).toBe(size);
    expect(crashes).toEqual([]);
  });

  it('arrives whole where its end is that of the connection', async () => {
    const text = await readLate((socket) => {
      socket.write(head());
      setTimeout(() => socket.end(body), 5);
    });
    expect(text.length).toBe(size);
    expect(crashes).toEqual([]);
  });

  it('is an error where it was cut off', async () => {
    const text = readLate((socket) => {
      socket.write(head(`content-length: ${size + 1}\r\n`));
      setTimeout(() => socket.end(body), 5);
    });
    await expect(text).rejects.toThrow();
    expect(crashes).toEqual([]);
  });

  it('is an error where the connection was reset', async () => {
    const text = readLate((socket) => {
      socket.write(head(`content-length: ${size + 1}\r\n`));
      setTimeout(() => socket.write(body, () => socket.resetAndDestroy()), 5);
    });
    await expect(text).rejects.toThrow();
    expect(crashes).toEqual([]);
  });
});

it('a connection that nobody takes is an error', async () => {
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const answer = fetch(`http://127.0.0.1:${port}/`, { dispatcher: agent });
  await expect(answer).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
  expect(crashes).toEqual([]);
});
