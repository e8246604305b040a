/**
 * The one error class of fltac. TypeScript code throws it directly; the native addon is given this class when it is
 * loaded and throws it too, so a caller needs a single `instanceof` and looks at `code`.
 */

/** What went wrong, as a stable word a program can branch on. */
export type ErrorCode =
  /** a wrong option, argument or configuration: exit code 2 */
  | 'USAGE'
  /** a file or folder cannot be read or written */
  | 'IO'
  /** a file's content breaks its format (named with path and offset) */
  | 'FORMAT'
  /** a model family, data type or device that this build does not handle */
  | 'UNSUPPORTED'
  /** a model file lacks a tensor that the architecture needs */
  | 'MISSING_WEIGHT'
  /** a tensor or array has the wrong shape, length or type */
  | 'SHAPE'
  /** a value is NaN or infinite where only finite ones are right */
  | 'NON_FINITE'
  /** memory ran out */
  | 'OUT_OF_MEMORY'
  /** the work was stopped through an AbortSignal */
  | 'ABORTED'
  /** a handle was used after dispose() */
  | 'DISPOSED'
  /** the native addon is not built or cannot be loaded */
  | 'NATIVE'
  /** the network or the Hub did not give what was asked for */
  | 'NETWORK'
  /** a fault of fltac itself */
  | 'INTERNAL';

/** An error a user can act on: `message` says what was expected, what was found and what to do. */
export class FltacError extends Error {
  override readonly name = 'FltacError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The part of an unknown error that a message shows. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Process exit codes of the command line. */
export const ExitCode = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The exit code that an error ends the process with. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof FltacError)) return ExitCode.failed;
  if (error.code === 'USAGE') return ExitCode.usage;
  return error.code === 'ABORTED' ? ExitCode.interrupted : ExitCode.failed;
}
