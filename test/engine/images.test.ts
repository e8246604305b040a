import { describe, expect, it } from 'vitest';
import { preprocessImages } from '../../src/engine/index.js';
import type { ImagePreprocess } from '../../src/engine/types.js';
import { difference } from '../support/compare.js';
import { imageFixture } from '../support/files.js';
import { bytes, readReference, values, type Tensor } from '../support/safetensors.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

/** Leaves the bytes as they are. */
const PLAIN = { rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1] } as const;

function imagesOf(list: readonly { shape: number[]; data: Uint8Array }[], preprocess: ImagePreprocess) {
  return {
    pixels: Uint8Array.from(list.flatMap(({ data }) => [...data])),
    sizes: Int32Array.from(list.flatMap(({ shape }) => shape.slice(-3, -1))),
    preprocess,
  };
}

/** [height, width, 3] as [3, height, width] */
function planes({ shape, data }: { shape: number[]; data: Uint8Array }): Float32Array {
  const pixels = shape[0]! * shape[1]!;
  return Float32Array.from({ length: 3 * pixels }, (_, i) => data[(i % pixels) * 3 + Math.floor(i / pixels)]!);
}

describe('resizing', () => {
  const reference = readReference(imageFixture('resize.safetensors'));
  const cases = [...reference.keys()].filter((name) => name.endsWith('.image')).map((name) => name.split('.')[0]!);

  it.each(cases.flatMap((number) => (['bilinear', 'bicubic'] as const).map((resample) => [number, resample] as const)))(
    "picture %s with %s equals Pillow's in every byte",
    async (number, resample) => {
      const expected = bytes(reference, `${number}.${resample}`);
      const [height, width] = expected.shape as [number, number];
      const images = imagesOf([bytes(reference, `${number}.image`)], { height, width, resample, ...PLAIN });
      expect(await preprocessImages(images)).toEqual(planes(expected));
    },
  );

  it('takes images of different sizes in one call, in their order', async () => {
    const list = cases.map((number) => bytes(reference, `${number}.image`));
    const how = { height: 6, width: 5, resample: 'bicubic', ...PLAIN } as const;
    const together = await preprocessImages(imagesOf(list, how));
    const alone = await Promise.all(list.map((image) => preprocessImages(imagesOf([image], how))));
    expect(together).toEqual(Float32Array.from(alone.flatMap((image) => [...image])));
  });

  it('of no image is no value', async () => {
    const none = imagesOf([], { height: 6, width: 5, resample: 'bicubic', ...PLAIN });
    expect(await preprocessImages(none)).toEqual(new Float32Array(0));
  });
});

it("resize, centre, factor, mean and std equal transformers' in every bit", async () => {
  const reference = readReference(imageFixture('pixel_values.safetensors'));
  const how: ImagePreprocess = {
    resize: { height: 19, width: 16 },
    height: 12,
    width: 13,
    resample: 'bicubic',
    rescaleFactor: 1 / 255,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  };
  const found = await preprocessImages(imagesOf([bytes(reference, 'image')], how));
  expect(found).toEqual(Float32Array.from(values(reference, 'values')));
});

describeWithShared('the reference pictures of CIFAR-10', () => {
  const reference = readReference(sharedPath('golden/vit_preprocess.safetensors'));
  const decoded = bytes(reference, 'decoded_u8');
  const images = (how: Omit<ImagePreprocess, 'height' | 'width' | 'resample'>) => ({
    pixels: decoded.data,
    sizes: new Int32Array(2 * decoded.shape[0]!).fill(32),
    preprocess: { height: 224, width: 224, resample: 'bilinear', ...how } as const,
  });

  it('are resized to the same bytes', async () => {
    expect(difference(await preprocessImages(images(PLAIN)), values(reference, 'pixel_u8')).max).toBe(0);
  });

  it('become the same pixel values in every bit', async () => {
    const half = [0.5, 0.5, 0.5] as const;
    const found = await preprocessImages(images({ rescaleFactor: 0.00392156862745098, mean: half, std: half }));
    expect(difference(found, lookedUp(reference)).max).toBe(0);
  });

  function lookedUp(tensors: Map<string, Tensor>): Float32Array {
    const table = Float32Array.from(values(tensors, 'lut'));
    return Float32Array.from(bytes(tensors, 'pixel_u8').data, (byte) => table[byte]!);
  }
});

describe('refused at the door', () => {
  const sound: ImagePreprocess = { height: 4, width: 4, resample: 'bilinear', ...PLAIN };
  const images = { pixels: new Uint8Array(12), sizes: Int32Array.of(2, 2), preprocess: sound };

  it.each([
    ['too few bytes', { sizes: Int32Array.of(2, 3) }, /image 0 of 2 x 3 ends after the 12 bytes/],
    ['too many bytes', { sizes: Int32Array.of(1, 2) }, /ask for 6 bytes of pixels, found 12/],
    ['a side of 0', { sizes: Int32Array.of(0, 2) }, /image 0 is 0 x 2/],
    ['a negative side', { sizes: Int32Array.of(-2, -2) }, /image 0 is -2 x -2/],
    ['an absurd size', { sizes: Int32Array.of(2 ** 31 - 1, 2 ** 31 - 1) }, /at most 178956970 pixels/],
    ['half a size', { sizes: Int32Array.of(2) }, /1 sizes, expected a height and a width/],
  ])('%s', async (_, fault, message) => {
    await expect(preprocessImages({ ...images, ...fault })).rejects.toMatchObject({
      code: 'SHAPE',
      message: expect.stringMatching(message) as string,
    });
  });

  it.each([
    ['a result without pixels', { height: 0 }, /expected sides of 1 to 16384/],
    ['a result that fills the memory', { height: 2e9, width: 2e9 }, /expected sides of 1 to 16384/],
    ['a centre larger than its image', { resize: { height: 3, width: 9 } }, /larger than the image it is cut from/],
    ['an unknown filter', { resample: 'nearest' }, /bilinear or bicubic, found nearest/],
    ['a std of 0', { std: [1, 0, 1] }, /finite std above 0/],
    ['a factor that is no number', { rescaleFactor: NaN }, /finite rescaleFactor/],
    ['two channels', { mean: [0, 0] }, /must have 3 numbers, found 2/],
  ])('%s', async (_, fault, message) => {
    const preprocess = { ...sound, ...fault } as ImagePreprocess;
    await expect(preprocessImages({ ...images, preprocess })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(message) as string,
    });
  });

  it('more values than one array holds', async () => {
    const many = 3_000;
    const all = { pixels: new Uint8Array(3 * many), sizes: new Int32Array(2 * many).fill(1) };
    const preprocess = { ...sound, height: 16_384, width: 16_384 };
    await expect(preprocessImages({ ...all, preprocess })).rejects.toThrow(/too many for one call/);
  });

  it('and a signal ends the work', async () => {
    const signal = AbortSignal.abort();
    await expect(preprocessImages(images, { signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
