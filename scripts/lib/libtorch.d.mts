import type { Version } from './tools.mjs';

/** A folder that may be a libtorch (the one with lib/ and include/). */
export interface TorchCandidate {
  prefix: string;
  version: Version | undefined;
  cuda: boolean;
  problem: string | undefined;
  /** what an install of ours came from */
  source?: string | undefined;
}

export interface PythonFacts {
  command: string;
  version: string;
  pip: boolean;
  torch: TorchCandidate | undefined;
}

export interface LibtorchFacts {
  platform: string;
  /** FLTAC_CUDA in lower case */
  cuda: string;
  /** LIBTORCH_URL */
  url: string | undefined;
  libtorch: TorchCandidate | undefined;
  torchDir: TorchCandidate | undefined;
  own: TorchCandidate | undefined;
  /** what the build that is there was made with */
  previous: TorchCandidate | undefined;
  python: PythonFacts | undefined;
}

export type LibtorchChoice =
  | { kind: 'use'; source: string; prefix: string; version: string; cuda: boolean; notes: string[] }
  | { kind: 'install'; method: 'pip'; python: PythonFacts; notes: string[] }
  | { kind: 'install'; method: 'archive'; url: string; notes: string[] }
  | { kind: 'error'; message: string; notes?: string[] };

export const SUPPORTED: { from: Version; below: Version; text: string };
export const INSTALL_VERSION: string;
export const OWN_FOLDER: string;
export const INSTALL_FOLDER: string;
export const MANIFEST: string;
export const STAMP: string;
export function libraryEnding(platform: string): 'so' | 'dylib';
export function inspectPrefix(prefix: string, platform?: string): TorchCandidate;
export function readManifest(folder: string): { source?: string; version?: string; problem?: string };
export function gatherLibtorch(root: string, env?: NodeJS.ProcessEnv, platform?: string): LibtorchFacts;
export function unfit(candidate: TorchCandidate, facts: Pick<LibtorchFacts, 'cuda'>): string | undefined;
export function chooseLibtorch(facts: LibtorchFacts): LibtorchChoice;
