/**
 * How a model wants its images: preprocessor_config.json as transformers' ViT and DeiT image processors write and read
 * it, in its older layouts too.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { ImagePreprocess } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { Log } from '../run/log.js';
import { readOptionalJson } from './model-files.js';

/** An image's way into the model. */
export interface ImageInput {
  preprocess: ImagePreprocess;
  /** whether images must have the model's size already (do_resize: false) */
  exactSize: boolean;
}

const FILE = 'preprocessor_config.json';

const Sides = z.object({ height: z.int().min(1), width: z.int().min(1) });
const Size = z.union([z.int().min(1), Sides, z.tuple([z.int().min(1), z.int().min(1)])]);
const Channels = z.union([z.number(), z.tuple([z.number(), z.number(), z.number()])]);
/** A key that is null stands for its default, as in transformers. */
const Config = z.object({
  image_processor_type: z.string().nullish(),
  feature_extractor_type: z.string().nullish(),
  do_resize: z.boolean().nullish(),
  do_center_crop: z.boolean().nullish(),
  do_rescale: z.boolean().nullish(),
  do_normalize: z.boolean().nullish(),
  size: z.unknown().optional(),
  crop_size: z.unknown().optional(),
  resample: z.int().nullish(),
  rescale_factor: z.number().nullish(),
  image_mean: Channels.nullish(),
  image_std: Channels.nullish(),
});
type Settings = z.infer<typeof Config>;

/** Steps that are understood; another one that is switched on would be left out silently. */
const KNOWN_STEPS = new Set(['do_resize', 'do_center_crop', 'do_rescale', 'do_normalize', 'do_convert_rgb']);

interface Processor {
  /** names of the class, without the endings Fast and Pil */
  names: readonly string[];
  resample: number;
  /** null: the model's own size */
  size: number | null;
  centre: boolean;
}

const VIT: Processor = { names: ['ViTImageProcessor', 'ViTFeatureExtractor'], resample: 2, size: null, centre: false };
const DEIT: Processor = { names: ['DeiTImageProcessor', 'DeiTFeatureExtractor'], resample: 3, size: 256, centre: true };
const PROCESSORS = [VIT, DEIT];

/** Pillow's numbers. */
const RESAMPLE: Readonly<Record<number, ImagePreprocess['resample']>> = { 2: 'bilinear', 3: 'bicubic' };

/**
 * Reads preprocessor_config.json of a model's folder; without one, transformers' defaults for ViT at the model's size
 * are taken, and the log says so.
 * @throws IO, FORMAT for a file that cannot be read; UNSUPPORTED for steps that fltac does not do; SHAPE where the result
 * has not the size that config.json gives
 */
export async function readImageInput(folder: string, log: Log): Promise<ImageInput> {
  const model = modelSize(await readOptionalJson(folder, 'config.json'), join(folder, 'config.json'));
  const found = await readOptionalJson(folder, FILE);
  if (found === undefined) {
    const sides = `${model.height} x ${model.width}`;
    const what = `images are resized to ${sides} (bilinear) and their values brought from 0..255 to -1..1`;
    log.warn(`${folder} has no ${FILE}: ${what}, as transformers' ViT does by default`);
  }
  const path = join(folder, FILE);
  const parsed = Config.safeParse(found ?? {});
  if (!parsed.success) {
    const faults = z.prettifyError(parsed.error).replaceAll('\n', ' ');
    throw new FltacError('FORMAT', `${path}: expected the settings of an image processor: ${faults}`);
  }
  const unknown = Object.keys(found ?? {}).filter((key) => key.startsWith('do_') && !KNOWN_STEPS.has(key));
  const step = unknown.find((key) => found?.[key] === true);
  if (step !== undefined) throw unsupported(path, `${step}: true`, [...KNOWN_STEPS].join(', '));
  return settle(parsed.data, model, path);
}

function settle(settings: Settings, model: Sides, path: string): ImageInput {
  const processor = processorOf(settings, path);
  const code = settings.resample ?? processor.resample;
  const resample = RESAMPLE[code];
  if (!resample) throw unsupported(path, `resample: ${code}`, '2 (bilinear) or 3 (bicubic)');
  const exactSize = settings.do_resize === false;
  const resized = exactSize ? model : sidesOf(settings.size ?? processor.size ?? model, 'size', path);
  const crops = settings.do_center_crop ?? processor.centre;
  const final = crops && !exactSize ? sidesOf(settings.crop_size ?? 224, 'crop_size', path) : resized;
  if (final.height !== model.height || final.width !== model.width) {
    throw new FltacError(
      'SHAPE',
      `${path} makes images of ${final.height} x ${final.width}, but by config.json the model reads ${model.height} x ` +
        `${model.width}: take both files from the same model`,
    );
  }
  const normalise = settings.do_normalize ?? true;
  return {
    exactSize,
    preprocess: {
      ...final,
      ...(final !== resized && { resize: resized }),
      resample,
      rescaleFactor: (settings.do_rescale ?? true) ? (settings.rescale_factor ?? 1 / 255) : 1,
      mean: normalise ? channels(settings.image_mean ?? 0.5) : [0, 0, 0],
      std: normalise ? channels(settings.image_std ?? 0.5) : [1, 1, 1],
    },
  };
}

function processorOf(settings: Settings, path: string): Processor {
  const name = settings.image_processor_type ?? settings.feature_extractor_type;
  if (name === undefined || name === null) return settings.do_center_crop === true ? DEIT : VIT;
  const plain = name.replace(/(Fast|Pil)$/, '');
  const found = PROCESSORS.find(({ names }) => names.includes(plain));
  if (found) return found;
  throw unsupported(path, `image_processor_type: ${name}`, PROCESSORS.flatMap(({ names }) => names).join(', '));
}

interface Sides {
  height: number;
  width: number;
}

/** The size of the images that a model reads. @throws FORMAT */
function modelSize(config: Readonly<Record<string, unknown>> | undefined, path: string): Sides {
  const parsed = Size.safeParse(config?.['image_size'] ?? 224);
  if (parsed.success) return square(parsed.data);
  throw new FltacError('FORMAT', `${path}: expected image_size to be a number of pixels or two`);
}

/** One number means a square: transformers' ViT and DeiT do not keep an image's proportions. */
function sidesOf(value: unknown, key: string, path: string): Sides {
  const parsed = Size.safeParse(value);
  if (parsed.success) return square(parsed.data);
  throw unsupported(path, `${key}: ${JSON.stringify(value)}`, 'a number, or height and width');
}

function square(size: z.infer<typeof Size>): Sides {
  if (typeof size === 'number') return { height: size, width: size };
  if (Array.isArray(size)) return { height: size[0], width: size[1] };
  return { height: size.height, width: size.width };
}

function channels(value: z.infer<typeof Channels>): readonly [number, number, number] {
  return typeof value === 'number' ? [value, value, value] : value;
}

function unsupported(path: string, found: string, expected: string): FltacError {
  return new FltacError('UNSUPPORTED', `${path} says ${found}, which fltac does not do; it knows ${expected}`);
}
