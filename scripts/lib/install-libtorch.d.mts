import type { LibtorchChoice, TorchCandidate } from './libtorch.mjs';

export function pipAttempts(folder: string, python: { version: string }, cuda: string): [string, string[]][];
export function installLibtorch(
  root: string,
  choice: Extract<LibtorchChoice, { kind: 'install' }>,
  options: { cuda: string; log: (message: string) => void },
): Promise<TorchCandidate>;
