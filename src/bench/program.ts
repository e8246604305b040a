/** The interpreter that runs the peers: whether there is one, told before anything is measured. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { messageOf } from '../errors.js';

/**
 * Why a program cannot be started, by starting it: "no such program"; undefined where it can.
 * @param python a path, or a name that is looked for in `env.PATH`; it is started with `-c ''`
 */
export async function programFault(python: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  try {
    const child = spawn(python, ['-c', ''], { env, stdio: 'ignore' });
    await once(child, 'spawn');
    child.kill();
    return undefined;
  } catch (error) {
    if (python === '' || (error as NodeJS.ErrnoException).code === 'ENOENT') return 'no such program';
    return `it cannot be started: ${messageOf(error)}`;
  }
}
