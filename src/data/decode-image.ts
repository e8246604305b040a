/**
 * Encoded images to RGB bytes, as Pillow's `Image.open(…).convert("RGB")` gives them: the first frame, without turning
 * by EXIF, without colour profiles, alpha dropped. Equal to Pillow in every byte for JPEG,
 * PNG, GIF, WebP and TIFF as the tests have them, but for two: 16-bit grey keeps its upper byte, where Pillow cuts all
 * above 255 off, and a GIF's transparent pixels are black, where Pillow has the palette's colour.
 */
import sharp from 'sharp';
import { FltacError, messageOf } from '../errors.js';

/** RGB bytes, [height, width, 3] row-major. */
export interface DecodedImage {
  pixels: Uint8Array;
  height: number;
  width: number;
}

// Nothing is asked for twice in a row, and the images of a batch already keep all threads busy.
sharp.cache(false);
sharp.concurrency(1);

/** Pillow refuses images of more pixels (twice Image.MAX_IMAGE_PIXELS) as decompression bombs. */
const MAX_PIXELS = 178_956_970;

/** By the first bytes, so that no other decoder of libvips (SVG, PDF) ever sees what others wrote. */
const FORMATS: readonly (readonly [name: string, begins: (head: string) => boolean])[] = [
  ['JPEG', (head) => head.startsWith('\xff\xd8\xff')],
  ['PNG', (head) => head.startsWith('\x89PNG\r\n\x1a\n')],
  ['GIF', (head) => head.startsWith('GIF87a') || head.startsWith('GIF89a')],
  ['WebP', (head) => head.startsWith('RIFF') && head.startsWith('WEBP', 8)],
  ['TIFF', (head) => head.startsWith('II*\0') || head.startsWith('MM\0*')],
];

/**
 * Decodes one image, off the event loop.
 * @param place names the image in an error: file and row
 * @throws FORMAT for bytes that are no image of these formats, cut off, broken or too large
 */
export async function decodeImage(encoded: Uint8Array, place: string): Promise<DecodedImage> {
  const format = formatOf(encoded);
  if (format === undefined) {
    const found = encoded.length === 0 ? 'no bytes' : `bytes that begin with ${hex(encoded.subarray(0, 8))}`;
    const expected = FORMATS.map(([name]) => name).join(', ');
    throw new FltacError('FORMAT', `${place}: expected an image (${expected}), found ${found}`);
  }
  try {
    return await decode(encoded, format);
  } catch (error) {
    // libvips keeps its reasons in one place for all threads, so that another image may have taken this one's away.
    const reason = messageOf(error)
      .replaceAll(/\s*\n\s*/g, ' ')
      .replace('Unknown error', 'it is broken or cut off');
    throw new FltacError('FORMAT', `${place}: the ${format} image cannot be decoded (${reason})`, { cause: error });
  }
}

async function decode(encoded: Uint8Array, format: string): Promise<DecodedImage> {
  const image = sharp(encoded, { failOn: 'error', limitInputPixels: MAX_PIXELS, ignoreIcc: true });
  const mayBeCmyk = format === 'JPEG' || format === 'TIFF';
  if (mayBeCmyk && (await image.metadata()).space === 'cmyk') {
    const inks = await image
      .pipelineColourspace('cmyk')
      .toColourspace('cmyk')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { pixels: cmykToRgb(inks.data), height: inks.info.height, width: inks.info.width };
  }
  const { data, info } = await image.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { pixels: data, height: info.height, width: info.width };
}

/** Pillow's conversion, which knows nothing of inks: a colour is what its ink and black leave of white. */
function cmykToRgb(inks: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((inks.length / 4) * 3);
  for (let pixel = 0; pixel < inks.length / 4; pixel += 1) {
    const white = 255 - inks[4 * pixel + 3]!;
    for (let c = 0; c < 3; c += 1) rgb[3 * pixel + c] = white - dividedBy255(inks[4 * pixel + c]! * white);
  }
  return rgb;
}

/** A product of two bytes over 255, rounded. */
function dividedBy255(product: number): number {
  const half = product + 128;
  return ((half >> 8) + half) >> 8;
}

function formatOf(encoded: Uint8Array): string | undefined {
  const head = Buffer.from(encoded.buffer, encoded.byteOffset, Math.min(16, encoded.length)).toString('latin1');
  return FORMATS.find(([, begins]) => begins(head))?.[0];
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replaceAll(/..(?=.)/g, '$& ');
}
