/** Instructions with their answers, and the prompt that a language model is given. */
import { TextColumnBuilder, type TextColumn } from './table.js';

/** One row of an instruction data set. */
export interface Instruction {
  instruction: string;
  /** what the instruction is about; blank where there is nothing */
  context: string;
  /** the answer that is wanted; may be empty */
  response: string;
}

/** Rows of an instruction data set, wherever they are kept. */
export interface InstructionRows {
  readonly length: number;
  get(row: number): Instruction;
}

const TASK = 'Below is an instruction that describes a task';
const REQUEST = 'Write a response that appropriately completes the request.';

/** The prompt of Stanford Alpaca (github.com/tatsu-lab/stanford_alpaca), in its form with or without an input. */
export function alpacaPrompt({ instruction, context }: Pick<Instruction, 'instruction' | 'context'>): string {
  if (context.trim() === '') return `${TASK}. ${REQUEST}\n\n### Instruction:\n${instruction}\n\n### Response:\n`;
  return (
    `${TASK}, paired with an input that provides further context. ${REQUEST}\n\n` +
    `### Instruction:\n${instruction}\n\n### Input:\n${context}\n\n### Response:\n`
  );
}

/** Collects instructions outside the JavaScript heap. */
export class InstructionTableBuilder {
  private readonly columns = [new TextColumnBuilder(), new TextColumnBuilder(), new TextColumnBuilder()] as const;

  append({ instruction, context, response }: Instruction): void {
    const [first, second, third] = this.columns;
    first.append(instruction);
    second.append(context);
    third.append(response);
  }

  finish(): InstructionTable {
    const [instructions, contexts, responses] = this.columns;
    return new InstructionTable(instructions.finish(), contexts.finish(), responses.finish());
  }
}

/** Instructions held outside the JavaScript heap. */
export class InstructionTable implements InstructionRows {
  constructor(
    private readonly instructions: TextColumn,
    private readonly contexts: TextColumn,
    private readonly responses: TextColumn,
  ) {}

  get length(): number {
    return this.instructions.length;
  }

  /** @throws SHAPE where there is no such row */
  get(row: number): Instruction {
    return {
      instruction: this.instructions.get(row),
      context: this.contexts.get(row),
      response: this.responses.get(row),
    };
  }
}

/** These rows of others, in this order; nothing is copied. */
export function selectRows(from: InstructionRows, rows: Int32Array): InstructionRows {
  return { length: rows.length, get: (row) => from.get(rows[row] ?? -1) };
}
