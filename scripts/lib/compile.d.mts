import type { ToolFacts } from './tools.mjs';

export function adviceFor(output: string): string | undefined;
export function jobCount(env: NodeJS.ProcessEnv, cores?: number, memory?: number): number;
export function cmakeVariables(
  root: string,
  libtorch: { prefix: string },
  tools: Pick<ToolFacts, 'compiler'>,
  env: NodeJS.ProcessEnv,
): Record<string, string>;
