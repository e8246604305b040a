// Child processes of the build: one to ask a tool something, one to run a step and keep the end of what it prints.
import { spawn, spawnSync } from 'node:child_process';

/** Lines of output kept for the message of a failed step. */
const TAIL_LINES = 60;

/** What asks a build to stop. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Runs a command and returns its output, or undefined when it cannot be started, fails or takes too long. */
export function ask(command, args, { cwd, timeoutMs = 20_000 } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: timeoutMs,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return result.error === undefined && result.status === 0 ? result.stdout.trim() : undefined;
}

/**
 * Runs a command, passes on what it prints (unless `quiet`) and returns its exit status (127 where it cannot be
 * started) with the last lines it printed. A signal to this process stops the command with all that it has started, and
 * then this process.
 */
export function run(command, args, { cwd, env, quiet = false } = {}) {
  return new Promise((resolve) => {
    // A group of its own: what the command starts would go on when only the command is stopped.
    const stdio = ['ignore', 'pipe', 'pipe'];
    const child = spawn(command, args, { cwd, env: env ?? process.env, stdio, detached: true });
    let stopped;
    const stop = (signal) => {
      stopped = signal;
      stopGroup(child.pid, signal);
    };
    for (const signal of SIGNALS) process.on(signal, stop);
    const done = (result) => {
      for (const signal of SIGNALS) process.off(signal, stop);
      if (stopped === undefined) resolve(result);
      else process.kill(process.pid, stopped);
    };
    let tail = '';
    const take = (stream) => (chunk) => {
      if (!quiet) stream.write(chunk);
      tail = (tail + chunk.toString('utf8')).split('\n').slice(-TAIL_LINES).join('\n');
    };
    child.stdout.on('data', take(process.stdout));
    child.stderr.on('data', take(process.stderr));
    child.on('error', (error) => done({ status: 127, tail: error.message }));
    child.on('close', (status, signal) => done({ status: status ?? 1, tail: signal ? `${tail}\n(${signal})` : tail }));
  });
}

/** The group of a command that has ended, or was never started, is gone. */
function stopGroup(pid, signal) {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
