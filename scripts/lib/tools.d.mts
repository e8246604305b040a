export type Version = readonly number[];

export interface ToolFacts {
  platform: string;
  node: string;
  packages: boolean;
  cmake: { version: Version | undefined } | undefined;
  compiler: { command: string; kind: 'g++' | 'clang++'; version: Version | undefined } | undefined;
  generator: { name: string; command: string } | undefined;
  /** $CXX */
  cxx: string | undefined;
}

export interface ToolCheck {
  name: string;
  ok: boolean;
  found: string;
  required: string;
  fix: string;
}

export const MINIMUM: Readonly<Record<'node' | 'cmake' | 'g++' | 'clang++', Version>>;
export function parseVersion(text: string | undefined): [number, number, number] | undefined;
export function atLeast(a: Version, b: Version): boolean;
export function compilerKind(banner: string): 'g++' | 'clang++';
export function gatherTools(root: string, env?: NodeJS.ProcessEnv): ToolFacts;
export function checkTools(facts: ToolFacts): ToolCheck[];
export function missingToolsMessage(checks: readonly ToolCheck[]): string | undefined;
