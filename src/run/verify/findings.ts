/** What a check of `fltac verify` found. */
import { FltacError } from '../../errors.js';

export type Status = 'pass' | 'fail' | 'skip';

export interface Finding {
  /** what was checked */
  check: string;
  status: Status;
  /** what is right, what is wrong, or why it was not looked at */
  detail: string;
}

/** Faults told in a line; the rest are counted. */
const TOLD = 3;

/** Gathers the faults of one check over a whole folder. */
export class Faults {
  readonly #faults: string[] = [];

  add(fault: string): void {
    this.#faults.push(fault);
  }

  /** Adds what a failed part threw. @throws what is no FltacError, and ABORTED */
  catch(error: unknown): void {
    if (!(error instanceof FltacError) || error.code === 'ABORTED') throw error;
    this.add(error.message);
  }

  get any(): boolean {
    return this.#faults.length > 0;
  }

  /** A failed finding with the first faults, or a passed one with `right`. */
  finding(check: string, right: string): Finding {
    if (!this.any) return { check, status: 'pass', detail: right };
    const more = this.#faults.length - TOLD;
    const told = this.#faults.slice(0, TOLD).join('; ');
    return { check, status: 'fail', detail: more > 0 ? `${told}; and ${more} more` : told };
  }
}

export function skipped(check: string, why: string): Finding {
  return { check, status: 'skip', detail: why };
}

/** Runs a check whose own errors are its faults. */
export async function attempt(check: string, work: (faults: Faults) => Promise<Finding> | Finding): Promise<Finding> {
  const faults = new Faults();
  try {
    return await work(faults);
  } catch (error) {
    faults.catch(error);
    return faults.finding(check, '');
  }
}
