import { describe, expect, it } from 'vitest';
import { bytesText, deviceMapFaults, deviceRuns, devicesOfMap, placementText } from '../../src/engine/placement.js';
import type { PartPlacement } from '../../src/engine/types.js';

describe('a device map', () => {
  it('gives every part its device, whatever the order of its names', () => {
    const map = { output: 'cuda:1', 'layers.2': 'cpu', 'layers.0-1': 'cuda:0', embedding: 'portable:3' };
    expect(deviceMapFaults(map)).toEqual([]);
    expect(devicesOfMap(map, 3)).toEqual(['portable:3', 'cuda:0', 'cuda:0', 'cpu', 'cuda:1']);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['an unknown part', { encoder: 'cpu' }, /"encoder" is no part, the parts are embedding, layers\.N/],
    ['a layer without number', { 'layers.': 'cpu' }, /"layers\." is no part/],
    ['a part of an object', { constructor: 'cpu' }, /"constructor" is no part/],
    ['a run that goes backwards', { 'layers.3-1': 'cpu' }, /layers\.3-1 runs backwards/],
    ['an unknown device', { embedding: 'gpu' }, /embedding: expected a device such as cpu, .* found "gpu"/],
    ['auto for a part', { output: 'auto' }, /output: expected a device such as/],
    ['a layer named twice', { 'layers.0-3': 'cpu', 'layers.2': 'cpu:1' }, /layer 2 is named twice, by layers\.0-3 and/],
  ])('with %s is refused without the model', (_, map, message) => {
    expect(deviceMapFaults(map).join('; ')).toMatch(message);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['layers left out', { embedding: 'cpu', 'layers.1': 'cpu', output: 'cpu' }, /given for layers\.0, layers\.2-3$/],
    ['ends left out', { 'layers.0-3': 'cpu' }, /no device is given for embedding, output$/],
    ['neighbours left out', { embedding: 'cpu', 'layers.0-1': 'cpu' }, /given for layers\.2-3, output$/],
    [
      'a layer past the last',
      { embedding: 'cpu', 'layers.0-4': 'cpu', output: 'cpu' },
      /layers\.0-4 goes past the .* 3$/,
    ],
    ['nothing in it', {}, /no device is given for embedding, layers\.0-3, output$/],
  ])('with %s is refused once the model is known', (_, map, message) => {
    expect(deviceMapFaults(map)).toEqual([]);
    expect(() => devicesOfMap(map, 4)).toThrow(message);
  });

  it('tells all of its faults at once', () => {
    const map = { encoder: 'cpu', 'layers.5-2': 'tpu', 'layers.0-1': 'cpu', 'layers.1-9': 'cpu' };
    expect(deviceMapFaults(map, 4)).toHaveLength(6);
    expect(() => devicesOfMap(map, 4)).toThrow(
      expect.objectContaining({
        code: 'USAGE',
        message: expect.stringMatching(/encoder.*backwards.*tpu.*twice.*past.*embedding, output/s) as string,
      }),
    );
  });
});

describe('a placement in words', () => {
  const parts = (...devices: string[]): PartPlacement[] =>
    devices.map((device, i) => ({ part: String(i), device, bytes: 2 ** 30 * (i + 1) }));

  it('names runs of neighbouring parts, their device and size', () => {
    expect(placementText(parts('cpu', 'cpu', 'cpu', 'cpu'))).toBe('embedding + layers 0-1 + output on cpu (10.0 GiB)');
    expect(placementText(parts('cuda:0', 'cuda:0', 'cuda:1', 'cuda:1', 'cuda:1'))).toBe(
      'embedding + layer 0 on cuda:0 (3.0 GiB), layers 1-2 + output on cuda:1 (12.0 GiB)',
    );
    expect(deviceRuns(parts('cpu', 'cpu:1', 'cpu')).map((run) => run.parts)).toEqual([
      'embedding',
      'layer 0',
      'output',
    ]);
  });

  it.each([
    [0, '0 bytes'],
    [1023, '1023 bytes'],
    [1024, '1.0 KiB'],
    [6.4 * 2 ** 30, '6.4 GiB'],
    [2 ** 60, '1048576.0 TiB'],
  ])('%i bytes are %s', (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });
});
