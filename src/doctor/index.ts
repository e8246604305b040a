/** `fltac doctor`: what this machine has and lacks for a run, each fault with its fix. */
import { judge } from './checks.js';
import type { DoctorCheck } from './checks.js';
import { gatherFacts } from './facts.js';

export type { DoctorCheck } from './checks.js';

export interface DoctorReport {
  checks: DoctorCheck[];
}

export interface DoctorOptions {
  /** ask the Hub whether it answers; otherwise no network is used */
  hub?: boolean;
}

/** Looks at the machine. Changes nothing; the Hub token's value is never read out. */
export async function runDoctor(
  env: NodeJS.ProcessEnv = process.env,
  { hub = false }: DoctorOptions = {},
): Promise<DoctorReport> {
  return { checks: judge(await gatherFacts(env, hub)) };
}

/** Whether nothing is wrong. */
export function isHealthy(report: DoctorReport): boolean {
  return report.checks.every((check) => check.ok);
}

/** The report as text: one line a check, fixes below their line, and a last line that sums it up. */
export function formatDoctorReport(report: DoctorReport): string {
  const width = Math.max(...report.checks.map((check) => check.name.length));
  const lines = report.checks.flatMap((check) => {
    const line = `${check.ok ? 'ok  ' : 'FAIL'}  ${check.name.padEnd(width)}  ${check.found}`;
    const fix = check.fix?.split('\n').map((part) => `${' '.repeat(width + 8)}fix: ${part.trim()}`) ?? [];
    return [line, ...fix];
  });
  const failed = report.checks.filter((check) => !check.ok).length;
  const verdict = failed === 0 ? 'Everything is in place.' : `${failed} of ${report.checks.length} checks failed.`;
  return [...lines, '', verdict].join('\n');
}
