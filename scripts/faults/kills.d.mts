export interface Kill {
  trigger: string;
  afterMs: number;
  /** what the run was doing */
  phase: string;
  /** of the resumed run's files from those of a run that was not interrupted */
  differences: readonly string[];
  /** what the resumed run told */
  log: string;
  /** the resumed run's environment.json */
  environment: unknown;
}

export function killRuns(options: {
  folder: string;
  kills: number;
  seed: number;
  arguments: readonly string[];
  tell?: (line: string) => void;
}): Promise<Kill[]>;

/** How the files of one run differ from those of another with the same settings, times and their own paths aside. */
export function differencesOfRuns(expected: string, found: string): string[];
