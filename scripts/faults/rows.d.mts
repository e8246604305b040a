import type { Room } from './room.mjs';

/** What a row runs. */
export interface Run {
  argv: string[];
  env?: Record<string, string>;
  close?: () => Promise<void>;
}

export interface FaultRow {
  fault: string;
  /** the exit code that it must end with */
  exit: number;
  /** what must be said, on stderr (or stdout, where the command goes on) */
  message: RegExp;
  needsNative?: boolean;
  /** brings the fault about; null where this machine cannot */
  arrange: (room: Room) => Run | null | Promise<Run | null>;
}

export const GROUPS: { title: string; rows: FaultRow[] }[];
