/** Tasks of the user's own (`scenario: custom`): the `data` section, and what is wrong with one. */
import { z } from 'zod';
import { climbs, isRepoId, isRevision } from '../data/hub/names.js';
import type { Kind } from './kinds.js';
import { didYouMean } from '../suggest.js';
import { describeValue } from './yaml.js';

/** What the rows of a task are. */
export type TaskForm = 'text' | 'image' | 'instruction';

/** More classes than this are not classes. */
const MOST_CLASSES = 10_000;
/** Names of tasks become names of folders. */
const TASK_NAME = /^[A-Za-z0-9][\w.-]{0,63}$/;

const word = z.string().regex(/\S/);
const files = z.union([word, z.array(word).min(1).readonly()]);
const className = z.union([z.string(), z.number(), z.boolean()]);
const classNames = z
  .array(className)
  .min(2)
  .max(MOST_CLASSES)
  .refine((list) => new Set(list.map(String)).size === list.length)
  .readonly();

/** A folder inside a repository; it becomes a part of addresses and of paths in the cache. */
const folder = z.string().refine((name) => !climbs(name));

const Task = z.strictObject({
  hub: z.string().refine(isRepoId).optional(),
  revision: z.string().refine(isRevision).optional(),
  subset: folder.optional(),
  train: files,
  validation: z.union([files, z.number().gt(0).lt(1)]),
  text: z.union([word, z.array(word).min(1).max(2).readonly()]).optional(),
  image: word.optional(),
  label: word.optional(),
  classes: z.union([z.int().min(2).max(MOST_CLASSES), classNames]).optional(),
  prompt: word.optional(),
  context: word.optional(),
  response: word.optional(),
});

const FILES = 'a file, a list of files, or with hub the name of a split';
const COLUMN = 'the name of a column';
/** Completes "expected …" for each key. */
const EXPECTED_OF: Readonly<Record<keyof typeof Task.shape, string>> = {
  hub: 'the id of a data set on the Hub, such as org/name',
  revision: 'a branch, tag or commit',
  subset: 'the name of a folder inside the data set, with / between its parts',
  train: FILES,
  validation: `${FILES}, or the share of the training rows to hold out, above 0 and below 1`,
  text: 'one column, or a list of two that are read as a pair',
  image: COLUMN,
  label: COLUMN,
  classes: `a list of 2 to ${MOST_CLASSES} different classes, or their number`,
  prompt: COLUMN,
  context: COLUMN,
  response: COLUMN,
};

/** One task: where its rows are, and which columns they have. */
export type CustomTask = Readonly<z.infer<typeof Task>>;
/** Tasks by name, in listed order. */
export type CustomData = Readonly<Record<string, CustomTask>>;

/** Keys that say what a task's rows are; the first says the form. */
const FORMS: Readonly<
  Record<TaskForm, { needed: readonly (keyof CustomTask)[]; also: readonly (keyof CustomTask)[] }>
> = {
  text: { needed: ['text', 'label'], also: ['classes'] },
  image: { needed: ['image', 'label'], also: ['classes'] },
  instruction: { needed: ['prompt', 'response'], also: ['context'] },
};
const FORM_NAMES = Object.keys(FORMS) as TaskForm[];
const FORM_KEYS = [...new Set(FORM_NAMES.flatMap((form) => [...FORMS[form].needed, ...FORMS[form].also]))];
const HUB_KEYS = ['revision', 'subset'] as const;

/** What a checked task's rows are. */
export function formOf(task: CustomTask): TaskForm {
  return FORM_NAMES.find((form) => task[FORMS[form].needed[0]!] !== undefined) ?? 'text';
}

/** Number of classes that a task's `classes` says; undefined where they are collected from its rows. */
export function declaredClasses({ classes }: CustomTask): number | undefined {
  return typeof classes === 'number' ? classes : classes?.length;
}

/** The `data` section as a kind of value. */
export function customData(): Kind<CustomData | null> {
  return {
    type: z.custom<CustomData | null>((value) => value === null || dataFaults(value).length === 0),
    expected: EXPECTED,
    placeholder: 'mapping',
    reading: 'mapping',
    faults: dataFaults,
  };
}

const EXPECTED = 'a mapping of task names to files and columns, or null for none';

/** Every fault of a `data` section, each naming the task and the key. */
function dataFaults(value: unknown): string[] {
  if (value === null) return [];
  const tasks = isMapping(value) ? Object.entries(value) : [];
  if (tasks.length === 0) {
    return [`expected ${EXPECTED}, found ${describeValue(value)}`];
  }
  const faults = tasks.flatMap(([name, task]) => taskFaults(task).map((fault) => `${name}${fault}`));
  const names = tasks.flatMap(([name]) =>
    TASK_NAME.test(name) ? [] : [`${JSON.stringify(name)}: a task's name has letters, digits, "-", "_" and "."`],
  );
  if (faults.length + names.length > 0) return [...names, ...faults];
  return mixedForms(value as CustomData);
}

/** Each begins with ": " or with ".key: ". */
function taskFaults(value: unknown): string[] {
  if (!isMapping(value)) return [`: expected a mapping of keys to values, found ${describeValue(value)}`];
  const parsed = Task.safeParse(value);
  if (parsed.success) return formFaults(parsed.data);
  return parsed.error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      const known = Object.keys(Task.shape);
      return issue.keys.map((key) => `.${key}: is not a key of a task${didYouMean(key, known)}`);
    }
    const key = issue.path[0] as keyof typeof EXPECTED_OF;
    if (!(key in value)) return [`: ${key} is missing`];
    return [`.${key}: expected ${EXPECTED_OF[key]}, found ${describeValue(value[key])}`];
  });
}

function formFaults(task: CustomTask): string[] {
  const has = (key: keyof CustomTask) => task[key] !== undefined;
  const forms = FORM_NAMES.filter((form) => has(FORMS[form].needed[0]!));
  if (forms.length !== 1) {
    const ways = FORM_NAMES.map((form) => FORMS[form].needed.join(' and ')).join('; or ');
    return [`: expected the columns of one form (${ways}), found ${forms.length === 0 ? 'none' : forms.join(' and ')}`];
  }
  const { needed, also } = FORMS[forms[0]!];
  const own: readonly string[] = [...needed, ...also];
  return [
    ...needed.filter((key) => !has(key)).map((key) => `: ${key} is missing, which goes with ${needed[0]!}`),
    ...FORM_KEYS.filter((key) => has(key) && !own.includes(key)).map(
      (key) => `.${key}: does not go with ${needed[0]!}`,
    ),
    ...HUB_KEYS.filter((key) => has(key) && !has('hub')).map((key) => `.${key}: goes with hub only`),
  ];
}

function mixedForms(data: CustomData): string[] {
  const first = Object.entries(data).map(([name, task]) => ({ name, form: formOf(task) }));
  const other = first.find(({ form }) => form !== first[0]!.form);
  if (!other) return [];
  return [
    `expected tasks of one form, since they share a backbone, found ${first[0]!.name} (${first[0]!.form}) and ` +
      `${other.name} (${other.form})`,
  ];
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map);
}
