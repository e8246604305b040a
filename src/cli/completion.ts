/** Completion scripts for shells, made from the commands themselves: nothing is asked of fltac while a person types. */
import type { Command, Option } from 'commander';
import { CONFIG_KEYS, flagName, keyRow } from '../config/schema.js';
import { takesConfig } from './config-options.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What may stand where a value is typed: words, names of files and folders, or neither where only a person knows. */
interface Values {
  words: readonly string[];
  files: boolean;
}

interface Flag {
  name: string;
  summary: string;
  /** whether a value follows */
  value: 'needed' | 'optional' | 'none';
  values: Values;
}

/** A command that can be typed: the words that lead to it, and what may follow. */
interface Place {
  /** `bench kmeans`; empty for the program itself */
  words: string;
  commands: { name: string; summary: string }[];
  flags: Flag[];
  /** of its arguments; absent where it takes none */
  operands?: Values;
}

/** The script that teaches a shell to complete the program's commands, flags and values of flags. */
export function completionScript(program: Command, shell: Shell): string {
  return WRITERS[shell](program.name(), placesOf(program, []));
}

function placesOf(command: Command, path: readonly string[]): Place[] {
  const shown = command.createHelp();
  const commands = shown.visibleCommands(command).filter((child) => child.name() !== 'help');
  const options = shown.visibleOptions(command).filter((option) => option.long);
  const [argument] = command.registeredArguments;
  const place: Place = {
    words: path.join(' '),
    commands: commands.map((child) => ({ name: child.name(), summary: child.summary() })),
    flags: options.map((option) => ({
      name: option.long!,
      summary: option.description,
      value: option.required ? 'needed' : option.optional ? 'optional' : 'none',
      values: valuesOf(command, option),
    })),
    ...(argument && { operands: { words: argument.argChoices ?? [], files: argument.argChoices === undefined } }),
  };
  return [place, ...commands.flatMap((child) => placesOf(child, [...path, child.name()]))];
}

/** By the option's own list, the schema's, or what its placeholder calls a file. */
function valuesOf(command: Command, option: Option): Values {
  if (option.argChoices) return { words: option.argChoices, files: false };
  if (option.long === '--override') return { words: CONFIG_KEYS.map((key) => `${key}=`), files: false };
  const words = takesConfig(command) ? CONFIG_WORDS.get(option.long!) : undefined;
  if (words) return { words, files: false };
  return { words: [], files: /file|folder|path|program/.test(option.flags.replace(option.long!, '')) };
}

/** The words of configuration keys that have some, by flag. */
const CONFIG_WORDS = new Map(CONFIG_KEYS.map((key) => [flagName(key), keyRow(key).kind.words]));

const WRITERS: Readonly<Record<Shell, (name: string, places: readonly Place[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function bashScript(name: string, places: readonly Place[]): string {
  const cases = places.map(({ words, commands, flags, operands }) => {
    const all = [...commands, ...flags].map((word) => word.name).join(' ');
    const own = operands ? ` operands=${quote(operands.words.join(' '))} files=${operands.files ? '-f' : "''"}` : '';
    return `    ${quote(words)}) words=${quote(all)}${own} ;;`;
  });
  return `# ${name} completion for bash: source this file, or put it into the folder of bash-completion
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" place="" word
  local words="" operands="" files=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    case " ${places.map((place) => place.words.split(' ').at(-1)).join(' ')} " in
      *" $word "*) place="\${place:+$place }$word" ;;
    esac
  done
  if [[ "$current" == = ]]; then current=""; elif [[ "$previous" == = ]]; then previous="\${COMP_WORDS[COMP_CWORD - 2]}"; fi
  COMPREPLY=()
  case "$place $previous" in
${valueCases(places)
  .map((line) => `    ${line}`)
  .join('\n')}
  esac
  case "$place" in
${cases.join('\n')}
  esac
  if [[ "$current" == -* || -z "$operands$files" ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen $files -W "$operands" -- "$current"))
  fi
  [[ \${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _${name} ${name}
`;
}

/** What is offered after a flag that takes a value, one line for all flags of all places with the same values. */
function valueCases(places: readonly Place[]): string[] {
  const patterns = new Map<string, string[]>();
  for (const { words, flags } of places) {
    for (const { name, value, values } of flags) {
      if (value === 'none') continue;
      const offer = offerOf(values);
      const line = value === 'needed' ? `${offer}return` : `if [[ "$current" != -* ]]; then ${offer}return; fi`;
      patterns.set(line, [...(patterns.get(line) ?? []), quote(`${words} ${name}`)]);
    }
  }
  return [...patterns].map(([line, names]) => `${names.join('|')}) ${line} ;;`);
}

function offerOf({ words, files }: Values): string {
  if (words.length === 0 && !files) return '';
  // A word that a value is still to be written after gets no space; not every shell can be told so.
  const open = words.some((word) => word.endsWith('=')) ? 'compopt -o nospace 2> /dev/null; ' : '';
  return `${open}COMPREPLY=($(compgen ${files ? '-f ' : ''}-W ${quote(words.join(' '))} -- "$current")); `;
}

function zshScript(name: string, places: readonly Place[]): string {
  return `#compdef ${name}
# ${name} completion for zsh: put this file as _${name} into a folder of $fpath
autoload -U +X bashcompinit && bashcompinit
${bashScript(name, places)}`;
}

function fishScript(name: string, places: readonly Place[]): string {
  const lines = places.flatMap(({ words, commands, flags, operands }) => {
    const here = condition(words, commands);
    return [
      ...commands.map((child) => `complete -c ${name} -f -n ${here} -a ${child.name} -d ${quote(child.summary)}`),
      ...(operands && !operands.files
        ? [`complete -c ${name} -f -n ${here} -a ${quote(operands.words.join(' '))}`]
        : []),
      ...flags.map(({ name: flag, summary, value, values }) => {
        const takes =
          values.words.length > 0 ? ` -x -a ${quote(values.words.join(' '))}` : values.files ? ' -r' : ' -x';
        const after = value === 'needed' ? takes : '';
        return `complete -c ${name} -n ${here} -l ${flag.replace(/^--/, '')}${after} -d ${quote(summary)}`;
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

/** In single quotes, as all three shells take them. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
