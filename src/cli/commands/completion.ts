/** `fltac completion` */
import { Argument, type Command } from 'commander';
import { SHELLS, completionScript, type Shell } from '../completion.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Examples:
  source <(fltac completion bash)
  fltac completion zsh > ~/.zfunc/_fltac
  fltac completion fish > ~/.config/fish/completions/fltac.fish`;

export function addCompletion(program: Command, { io }: CommandContext): void {
  program
    .command('completion')
    .summary('print a completion script for your shell')
    .description('Prints a script that completes commands, flags and their values in bash, zsh or fish.')
    .addArgument(new Argument('<shell>', 'your shell').choices(SHELLS))
    .addHelpText('after', EXAMPLES)
    .action((shell: Shell) => void io.stdout.write(completionScript(program, shell)));
}
