import { readFileSync } from 'node:fs';
import { parquetReadObjects } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { decodeImage } from '../../src/data/decode-image.js';
import { difference } from '../support/compare.js';
import { imageFixture } from '../support/files.js';
import { bytes, readReference } from '../support/safetensors.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const reference = readReference(imageFixture('decoded.safetensors'));
const encoded = (name: string) => readFileSync(imageFixture(name));

describe('an image is decoded to the bytes that Pillow gives', () => {
  const other = ['rgb.bmp', 'deep_grey.png', 'transparent.gif'];
  it.each([...reference.keys()].filter((name) => !other.includes(name)))('%s', async (name) => {
    const { pixels, height, width } = await decodeImage(encoded(name), name);
    const expected = bytes(reference, name);
    expect([height, width, 3]).toEqual(expected.shape);
    expect(difference(pixels, expected.data).max).toBe(0);
  });

  it('and 16-bit grey keeps its upper byte', async () => {
    const { pixels } = await decodeImage(encoded('deep_grey.png'), 'deep_grey.png');
    expect([...pixels]).toEqual(Array.from({ length: 3 * 480 }, (_, i) => (Math.floor(i / 3) * 136) >> 8));
  });

  it("and a GIF's transparent pixels are black", async () => {
    const { pixels } = await decodeImage(encoded('transparent.gif'), 'transparent.gif');
    const { pixels: whole } = await decodeImage(encoded('palette.gif'), 'palette.gif');
    const changed = [...pixels.keys()].filter((at) => pixels[at] !== whole[at]);
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.filter((at) => pixels[at] !== 0)).toEqual([]);
  });
});

describe('refused, naming the place', () => {
  it.each([
    ['nothing', Buffer.alloc(0), /^here: expected an image \(JPEG, .*\), found no bytes$/],
    ['a text', Buffer.from('hello'), /^here: .* found bytes that begin with 68 65 6c 6c 6f$/],
    ['a drawing', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /^here: .* begin with 3c 73/],
    ['another format', encoded('rgb.bmp'), /^here: .* begin with 42 4d/],
    ['a JPEG cut short', encoded('rgb420.jpg').subarray(0, 600), /^here: the JPEG image cannot be decoded/],
    ['a PNG cut short', encoded('rgb.png').subarray(0, 700), /^here: the PNG image cannot be decoded/],
    ['a PNG with a wrong byte', broken(encoded('rgb.png'), 300), /^here: the PNG image cannot be decoded/],
    ['a JPEG header alone', Buffer.from('ffd8ffe0', 'hex'), /^here: the JPEG image cannot be decoded/],
    ['a PNG that claims to be vast', vast(encoded('rgb.png')), /^here: the PNG image cannot be decoded \(.*pixel/],
  ])('%s', async (_, content, message) => {
    await expect(decodeImage(content, 'here')).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(message) as string,
    });
  });

  function broken(content: Buffer, at: number): Buffer {
    const copy = Buffer.from(content);
    copy[at]! ^= 0xff;
    return copy;
  }

  /** A header of 60,000 x 60,000 with the checksum that belongs to it. */
  function vast(content: Buffer): Buffer {
    const copy = Buffer.from(content);
    copy.writeUInt32BE(60_000, 16);
    copy.writeUInt32BE(60_000, 20);
    copy.writeUInt32BE(crc32(copy.subarray(12, 29)), 29);
    return copy;
  }

  function crc32(data: Uint8Array): number {
    let crc = ~0;
    for (const byte of data) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }
});

describeWithShared('the reference pictures of CIFAR-10', () => {
  it('are decoded to the bytes that Pillow gives', async () => {
    const golden = bytes(readReference(sharedPath('golden/vit_preprocess.safetensors')), 'decoded_u8');
    const file = readFileSync(sharedPath('hub/datasets/uoft-cs/cifar10/plain_text/test-00000-of-00001.parquet'));
    const rows = await parquetReadObjects({
      file: file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength),
      columns: ['img'],
      utf8: false,
      rowEnd: 8,
    });
    const images = await Promise.all(
      rows.map(({ img }) => decodeImage((img as { bytes: Uint8Array }).bytes, 'a picture')),
    );
    // libjpeg-turbo in Pillow, mozjpeg in sharp: the golden allows 3 levels, there are none.
    expect(difference(Buffer.concat(images.map(({ pixels }) => pixels)), golden.data).max).toBe(0);
  });
});
