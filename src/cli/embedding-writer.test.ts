import { expect, test } from 'vitest';
import { checkFinite, formatOf } from './embedding-writer.ts';
import { jsonLine } from './jsonl-writer.ts';
import { npyHeader } from './npy-writer.ts';

test('the ending of a file says its format', () => {
  expect(formatOf('a/b.NPY')).toBe('npy');
  expect(formatOf('x.safetensors', { multivector: true })).toBe('safetensors');
  expect(() => formatOf('x.csv')).toThrow('--output x.csv: unknown ending; use .jsonl, .npy or .safetensors');
  expect(() => formatOf('x.npy', { multivector: true })).toThrow('use .safetensors or .jsonl');
});

test('a JSON line of each kind', () => {
  const embedding = new Float32Array([0.1, -1]);
  expect(jsonLine({ index: 0, type: 'text', embedding })).toBe(
    '{"index":0,"type":"text","embedding":[0.1,-1]}\n',
  );
  expect(jsonLine({ index: 1, id: 'é', type: 'image', embedding: [embedding, embedding] })).toBe(
    '{"index":1,"id":"é","type":"image","embeddings":[[0.1,-1],[0.1,-1]]}\n',
  );
  expect(jsonLine({ index: 2, type: 'text', embedding: new Uint16Array([0x3c00, 0xb800]) })).toContain(
    '[1,-0.5]',
  );
  expect(jsonLine({ index: 3, type: 'text', embedding: new Int8Array([-128, 7]) })).toContain('[-128,7]');
});

test('an .npy header is 128 bytes and says type and shape', () => {
  const header = Buffer.from(npyHeader('<f4', [12, 2048]));
  expect(header.length).toBe(128);
  expect(header.subarray(0, 8)).toEqual(Buffer.from('\x93NUMPY\x01\x00', 'latin1'));
  expect(header.readUInt16LE(8)).toBe(118);
  expect(header.toString('latin1', 10).trimEnd()).toBe(
    "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 2048), }",
  );
  expect(header[127]).toBe(10);
});

test('NaN does not get out', () => {
  const bad = { index: 4, type: 'text', embedding: [new Float32Array([1, NaN])] } as const;
  expect(() => checkFinite(bad)).toThrow('the embedding of input 4 is not finite');
});
