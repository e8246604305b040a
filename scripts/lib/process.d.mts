export function ask(
  command: string,
  args: readonly string[],
  options?: { cwd?: string; timeoutMs?: number },
): string | undefined;
export function run(
  command: string,
  args: readonly string[],
  options?: { cwd?: string; env?: NodeJS.ProcessEnv; quiet?: boolean },
): Promise<{ status: number; tail: string }>;
