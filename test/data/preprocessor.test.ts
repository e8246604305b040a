import { describe, expect, it } from 'vitest';
import { readImageInput } from '../../src/data/preprocessor.js';
import { folderOf, keptLog } from '../support/hub.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const HALF = [0.5, 0.5, 0.5];
const BYTE = 0.00392156862745098;

async function inputOf(settings: object | undefined, config: object = { image_size: 224 }, log = keptLog()) {
  const files = {
    'config.json': JSON.stringify(config),
    ...(settings && { 'preprocessor_config.json': JSON.stringify(settings) }),
  };
  return readImageInput(folderOf(files), log);
}

const VIT = {
  preprocess: { height: 224, width: 224, resample: 'bilinear', rescaleFactor: BYTE, mean: HALF, std: HALF },
};
const DEIT = { ...VIT.preprocess, resample: 'bicubic', resize: { height: 256, width: 256 } };

describe('preprocessor_config.json', () => {
  const whole = { do_resize: true, do_rescale: true, do_normalize: true, resample: 2, rescale_factor: BYTE };
  it.each([
    ['as transformers 5 writes it', { ...whole, image_processor_type: 'ViTImageProcessorFast', crop_size: null }],
    ['of ViTFeatureExtractor', { feature_extractor_type: 'ViTFeatureExtractor', size: 224, do_resize: true }],
    ['without a class', { size: { height: 224, width: 224 }, image_mean: HALF, image_std: HALF }],
    ['with what it leaves to its defaults', {}],
    ['with one mean for all channels', { image_mean: 0.5, image_std: 0.5, size: [224, 224] }],
  ])('%s gives the ViT way', async (_, settings) => {
    expect(await inputOf(settings)).toEqual({ ...VIT, exactSize: false });
  });

  it.each([
    ['of DeiTFeatureExtractor', { feature_extractor_type: 'DeiTFeatureExtractor', size: 256, crop_size: 224 }],
    ['of DeiTImageProcessor', { image_processor_type: 'DeiTImageProcessorPil', size: { height: 256, width: 256 } }],
  ])('%s cuts the centre out of a larger image', async (_, settings) => {
    expect(await inputOf(settings)).toEqual({ preprocess: DEIT, exactSize: false });
  });

  it('can leave each step out', async () => {
    const { preprocess } = await inputOf({ do_rescale: false, do_normalize: false, resample: 3 });
    expect(preprocess).toEqual({
      ...VIT.preprocess,
      resample: 'bicubic',
      rescaleFactor: 1,
      mean: [0, 0, 0],
      std: [1, 1, 1],
    });
    const exact = await inputOf({ do_resize: false, size: 999 }, { image_size: [32, 48] });
    expect(exact).toMatchObject({ exactSize: true, preprocess: { height: 32, width: 48 } });
  });

  it("is announced where it is missing, and ViT's way at the model's size taken", async () => {
    const log = keptLog();
    const { preprocess } = await inputOf(undefined, { image_size: 32 }, log);
    expect(preprocess).toEqual({ ...VIT.preprocess, height: 32, width: 32 });
    expect(log.lines).toHaveLength(1);
    expect(log.lines[0]).toMatch(
      /^warn: .* has no preprocessor_config.json: images are resized to 32 x 32 \(bilinear\)/,
    );
  });

  it.each([
    [{ image_processor_type: 'CLIPImageProcessor' }, 'UNSUPPORTED', /image_processor_type: CLIPImageProcessor/],
    [{ size: { shortest_edge: 224 } }, 'UNSUPPORTED', /size: \{"shortest_edge":224\}.*a number, or height and width/],
    [{ resample: 1 }, 'UNSUPPORTED', /resample: 1.*2 \(bilinear\) or 3 \(bicubic\)/],
    [{ do_pad: true }, 'UNSUPPORTED', /do_pad: true/],
    [{ size: 384 }, 'SHAPE', /makes images of 384 x 384, but by config.json the model reads 224 x 224/],
    [{ image_mean: 'grey' }, 'FORMAT', /expected the settings of an image processor: .*image_mean/],
    [{ do_resize: 'yes' }, 'FORMAT', /do_resize/],
  ])('is refused with %o', async (settings, code, message) => {
    await expect(inputOf(settings)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });
});

describeWithShared('the image model of the reference values', () => {
  it('is read', async () => {
    const input = await readImageInput(sharedPath('hub/models/fltac-test/tiny-vit'), keptLog());
    expect(input).toEqual({ ...VIT, exactSize: false });
  });
});
