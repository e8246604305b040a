/** Completion scripts for shells, made from the commands themselves: nothing is asked of fltac while a person types. */
import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command that can be typed: the words that lead to it, and what may follow. */
interface Place {
  /** `bench kmeans`; empty for the program itself */
  words: string;
  commands: { name: string; summary: string }[];
  flags: { name: string; summary: string; choices: readonly string[]; takesValue: boolean }[];
}

/** The script that teaches a shell to complete the program's commands, flags and values of flags. */
export function completionScript(program: Command, shell: Shell): string {
  return WRITERS[shell](program.name(), placesOf(program, []));
}

function placesOf(command: Command, path: readonly string[]): Place[] {
  const shown = command.createHelp();
  const commands = shown.visibleCommands(command).filter((child) => child.name() !== 'help');
  const options = shown.visibleOptions(command).filter((option) => option.long);
  const place: Place = {
    words: path.join(' '),
    commands: commands.map((child) => ({ name: child.name(), summary: child.summary() })),
    flags: options.map((option) => ({
      name: option.long!,
      summary: option.description,
      choices: option.argChoices ?? [],
      takesValue: option.required || option.optional,
    })),
  };
  return [place, ...commands.flatMap((child) => placesOf(child, [...path, child.name()]))];
}

const WRITERS: Readonly<Record<Shell, (name: string, places: readonly Place[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function bashScript(name: string, places: readonly Place[]): string {
  const cases = places.map(({ words, commands, flags }) => {
    const all = [...commands, ...flags].map((word) => word.name).join(' ');
    return `    ${quote(words)}) words=${quote(all)} ;;`;
  });
  const values = choiceCases(places);
  return `# ${name} completion for bash: source this file, or put it into the folder of bash-completion
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" place="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    case " ${places.map((place) => place.words.split(' ').at(-1)).join(' ')} " in
      *" $word "*) place="\${place:+$place }$word" ;;
    esac
  done
  case "$previous" in
${values.map(([flag, choices]) => `    ${flag}) COMPREPLY=($(compgen -W ${quote(choices)} -- "$current")); return ;;`).join('\n')}
  esac
  case "$place" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _${name} ${name}
`;
}

function zshScript(name: string, places: readonly Place[]): string {
  return `#compdef ${name}
# ${name} completion for zsh: put this file as _${name} into a folder of $fpath
autoload -U +X bashcompinit && bashcompinit
${bashScript(name, places)}`;
}

function fishScript(name: string, places: readonly Place[]): string {
  const lines = places.flatMap(({ words, commands, flags }) => {
    const here = condition(words, commands);
    return [
      ...commands.map((child) => `complete -c ${name} -f -n ${here} -a ${child.name} -d ${quote(child.summary)}`),
      ...flags.map(({ name: flag, summary, choices, takesValue }) => {
        const value = choices.length > 0 ? ` -x -a ${quote(choices.join(' '))}` : takesValue ? ' -r' : '';
        return `complete -c ${name} -n ${here} -l ${flag.replace(/^--/, '')}${value} -d ${quote(summary)}`;
      }),
    ];
  });
  return `# ${name} completion for fish: put this file into ~/.config/fish/completions\n${lines.join('\n')}\n`;
}

/** Whether the command typed so far is this one and none below it. */
function condition(words: string, commands: Place['commands']): string {
  const seen = words === '' ? [] : words.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
  const below = commands.map((child) => child.name).join(' ');
  const none = below === '' ? [] : [`not __fish_seen_subcommand_from ${below}`];
  return quote([...seen, ...none].join('; and ') || 'true');
}

/** The values of flags that have a list of them, by flag; one flag has the same list in every command, or none. */
function choiceCases(places: readonly Place[]): [string, string][] {
  const found = new Map<string, string>();
  for (const { name, choices } of places.flatMap((place) => place.flags)) {
    if (choices.length > 0) found.set(name, choices.join(' '));
  }
  return [...found];
}

/** In single quotes, as all three shells take them. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
