import { expect, test } from 'vitest';
import { BindGroups } from './bind-groups.ts';
import { BufferPool } from './buffer-pool.ts';
import { Constants } from './constants.ts';

/** A device that only counts. */
function fakeDevice() {
  const live = new Set<GPUBuffer>();
  let made = 0;
  const device = {
    createBuffer: ({ size, usage }: GPUBufferDescriptor) => {
      made++;
      const buffer = {
        size,
        usage,
        getMappedRange: () => new ArrayBuffer(size),
        unmap: () => {},
        destroy: () => live.delete(buffer),
      } as unknown as GPUBuffer;
      live.add(buffer);
      return buffer;
    },
  } as unknown as GPUDevice;
  const bytes = () => [...live].reduce((sum, b) => sum + b.size, 0);
  return { device, live, bytes, made: () => made };
}

const USAGE = 140;

/** A pass that has buffers of these sizes at once. */
function pass(pool: BufferPool, sizes: readonly number[]): readonly GPUBuffer[] {
  const lent = sizes.map((size) => pool.acquireBuffer(size, USAGE));
  // Given back in another order than they were taken.
  for (const buffer of [...lent].reverse()) pool.releaseBuffer(buffer);
  return lent;
}

test('the same calls get the same buffers, whatever order they came back in', () => {
  const { device, made } = fakeDevice();
  const pool = new BufferPool(device);
  const first = pass(pool, [64, 64, 128, 64]);
  pool.trim(1e6);
  expect(pass(pool, [64, 64, 128, 64])).toEqual(first);
  expect(made()).toBe(4);
  expect(pool.acquireBuffer(64, USAGE + 1)).not.toBe(first[0]); // another usage is another buffer
});

test('what two passes have not used is destroyed; what is in use never is', () => {
  const { device, live, bytes } = fakeDevice();
  const pool = new BufferPool(device);
  const kept = pool.acquireBuffer(1000, USAGE);
  pass(pool, [64, 128]);
  expect(pool.trim(1e6)).toEqual([]);
  pass(pool, [256]);
  expect(pool.trim(1e6)).toEqual([]); // tower and decoder of a call: both stay
  pass(pool, [256]);
  expect(pool.trim(1e6).map((b) => b.size)).toEqual([64, 128]);
  expect([...live].map((b) => b.size)).toEqual([1000, 256]);
  expect(pool.numBytesAllocated).toBe(bytes());
  expect([pool.numBytesUsed, pool.numUsedBuffers, pool.numFreeBuffers]).toEqual([1000, 1, 1]);
  pool.releaseBuffer(kept);
  pool.trim(0);
  expect([live.size, pool.numBytesAllocated, pool.numFreeBuffers]).toEqual([0, 0, 0]);
});

test('no more bytes stay than were asked for, the latest ones', () => {
  const { device, bytes } = fakeDevice();
  const pool = new BufferPool(device);
  pass(pool, [400, 400]);
  pool.trim(1000);
  expect(bytes()).toBe(800);
  pass(pool, [300, 200]);
  pool.trim(1000);
  expect(bytes()).toBe(900); // both new ones, and one of the old
});

test('the queue writes into a buffer only when what was recorded before it was given back is submitted', () => {
  const { device, made } = fakeDevice();
  const pool = new BufferPool(device);
  const [first, second] = pass(pool, [64, 64]);
  const fresh = pool.acquireIdle(64, USAGE);
  expect([first, second]).not.toContain(fresh);
  expect(pool.acquireBuffer(64, USAGE)).toBe(first); // for commands, which run in their order
  pool.submitted();
  pool.releaseBuffer(first);
  expect(pool.acquireIdle(64, USAGE)).toBe(second);
  pool.submitted();
  expect(pool.acquireIdle(64, USAGE)).toBe(first);
  expect(pool.numFreeBuffers).toBe(0);
  expect(pool.numBytesUsed).toBe(192);
  expect(made()).toBe(3);
});

test('within a pass the latest free buffers stay, up to some bytes, and the pass goes on', () => {
  const { device, bytes } = fakeDevice();
  const pool = new BufferPool(device);
  const used = pool.acquireBuffer(1000, USAGE);
  pass(pool, [400, 300, 200]);
  expect(pool.numBytesFree).toBe(900);
  expect(pool.shrink(900)).toEqual([]);
  expect(pool.shrink(650).map((b) => b.size)).toEqual([300]);
  expect([pool.numBytesFree, bytes()]).toEqual([600, 1600]);
  for (let i = 0; i < 3; i++) pool.shrink(650);
  expect(pool.trim(1e6)).toEqual([]); // it was one pass
  pool.releaseBuffer(used);
  expect(pool.numBytesFree).toBe(bytes());
});

test('forty lengths leave no more behind than one', () => {
  const { device, bytes, live } = fakeDevice();
  const pool = new BufferPool(device);
  const constants = new Constants(device);
  const call = (length: number) => {
    pass(pool, [8 * length, 8 * length, 64 * length]);
    constants.find(Uint32Array.of(length, 3), USAGE);
    pool.trim(1e9);
    constants.trim();
  };
  const twice = () => {
    call(7);
    call(7);
    return [live.size, bytes()];
  };
  const before = twice();
  for (let length = 1; length <= 40; length++) call(length);
  expect(twice()).toEqual(before);
});

test('a pool takes over what another one holds', () => {
  const { device, live } = fakeDevice();
  const make = (size: number) => device.createBuffer({ size, usage: USAGE });
  const [used, free] = [make(64), make(128)];
  const pool = new BufferPool(device, {
    usedBuffers: new Map([['64_140', [used]]]),
    freeBuffers: new Map([['128_140', [free]]]),
  });
  expect([pool.numBytesUsed, pool.numBytesAllocated, pool.numFreeBuffers]).toEqual([64, 192, 1]);
  expect(pool.acquireBuffer(128, USAGE)).toBe(free);
  pool.releaseBuffer(used);
  expect(pool.acquireBuffer(64, USAGE)).toBe(used);
  pool.dispose();
  expect([live.size, pool.numBytesAllocated]).toEqual([0, 0]);
  pool.releaseBuffer(used); // a tensor that is disposed afterwards
  expect(pool.numFreeBuffers).toBe(0);
});

test('bind groups of destroyed buffers are forgotten, the others are found again', () => {
  const { device } = fakeDevice();
  const [a, b, c] = [1, 2, 3].map((n) => device.createBuffer({ size: 16 * n, usage: USAGE }));
  const groups = new BindGroups();
  const find = (pipeline: number, buffers: readonly GPUBuffer[]) => {
    let made = false;
    groups.find(pipeline, buffers, () => {
      made = true;
      return {} as GPUBindGroup;
    });
    return made ? 'made' : 'known';
  };
  for (const [pipeline, buffers] of [
    [1, [a, b]],
    [1, [b, a]],
    [2, [a, b]],
    [1, [b, c]],
    [1, [b]],
  ] as const)
    expect(find(pipeline, buffers)).toBe('made');
  expect(find(1, [a, b])).toBe('known');
  groups.forget([a]);
  expect(groups.size).toBe(2);
  expect([find(1, [b, c]), find(1, [b]), find(1, [a, b])]).toEqual(['known', 'known', 'made']);
});
