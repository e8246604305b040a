/** A folder of its own for one fault; see room.mjs. */
export class Room {
  readonly folder: string;
  path(name: string): string;
  /** false where this user cannot mount a file system */
  mount(name: string, size: string): boolean;
  resize(name: string, size: string): void;
  fltac(argv: readonly string[]): Promise<{ code: number | string; stdout: string; stderr: string }>;
  files(): string[];
  close(): void;
}
