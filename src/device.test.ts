import { describe, expect, test } from 'vitest';
import { DeviceManager, hasOwnMemory, type SelectOptions } from './device.ts';
import type { BackendName, Engine, EngineOptions, EngineReport } from './device-engine.ts';
import { type Hardware, ORDER } from './device-policy.ts';
import { describeAdapter, startWebGpu } from './device-webgpu.ts';
import { DeviceError } from './errors.ts';

type Fake = {
  readonly name: BackendName;
  readonly hardware: Hardware;
  readonly available?: boolean;
  readonly half?: boolean;
};

/** An engine that is only looked at, and counts how often. */
function fakeEngine({
  name,
  hardware,
  available = true,
  half,
}: Fake): Engine & { readonly looked: () => number } {
  let looked = 0;
  const report: EngineReport = {
    available,
    hardware,
    half,
    detail: available ? `a ${hardware} that is there` : `no ${hardware} here; install one`,
    device: `Fake ${hardware}`,
  };
  return {
    name,
    looked: () => looked,
    probe: async () => {
      looked++;
      return report;
    },
    start: async () => report,
  };
}

const cpu: Fake = { name: 'cpu', hardware: 'cpu' };
const wasm: Fake = { name: 'wasm', hardware: 'cpu' };
const native: Fake = { name: 'tensorflow', hardware: 'cpu' };
const cuda: Fake = { name: 'tensorflow', hardware: 'cuda' };
const gpu: Fake = { name: 'webgpu', hardware: 'gpu' };
const apple: Fake = { name: 'webgpu', hardware: 'apple' };
const software: Fake = { name: 'webgpu', hardware: 'software' };
const absent = (fake: Fake): Fake => ({ ...fake, available: false });

const select = (fakes: readonly Fake[], options?: SelectOptions) =>
  new DeviceManager(fakes.map(fakeEngine)).select(options);

describe('automatic choice', () => {
  test.each<[string, readonly Fake[], BackendName, Hardware, number]>([
    ['CUDA through TensorFlow before all else', [cpu, wasm, gpu, cuda], 'tensorflow', 'cuda', 32],
    ['a GPU through WebGPU before native TensorFlow', [native, gpu, wasm, cpu], 'webgpu', 'gpu', 16],
    ['Apple through WebGPU', [native, apple, wasm, cpu], 'webgpu', 'apple', 16],
    ['native TensorFlow before WebAssembly', [wasm, cpu, native], 'tensorflow', 'cpu', 8],
    ['WebAssembly before plain JavaScript', [cpu, wasm], 'wasm', 'cpu', 8],
    ['plain JavaScript when there is nothing else', [absent(wasm), cpu], 'cpu', 'cpu', 8],
    ['never what is not available', [absent(cuda), absent(gpu), wasm, cpu], 'wasm', 'cpu', 8],
    ['never a software adapter', [software, wasm, cpu], 'wasm', 'cpu', 8],
  ])('%s', async (_, fakes, backend, hardware, batchSize) => {
    const choice = await select(fakes);
    expect(choice).toMatchObject({
      backend,
      hardware,
      batchSize,
      precision: 'float32',
      device: `Fake ${hardware}`,
    });
    const row = ORDER.find((r) => r.backend === backend && r.hardware.includes(hardware));
    expect(choice.reason).toContain(`${backend}: ${row?.why} (a ${hardware} that is there)`);
    expect(choice.considered.map((c) => c.name)).toEqual(fakes.map((f) => f.name));
  });

  test('a software adapter alone is no choice: the error tells what every backend said', async () => {
    await expect(select([software, absent(wasm)])).rejects.toThrow(
      'no backend can run here: webgpu: a software that is there; wasm: no cpu here; install one',
    );
    await expect(select([software])).rejects.toBeInstanceOf(DeviceError);
  });

  test('every row of the order can be reached, and no row names a software adapter', () => {
    expect(ORDER.flatMap((row) => row.hardware)).not.toContain('software');
    expect(ORDER.map((row) => row.backend)).toEqual(['tensorflow', 'webgpu', 'tensorflow', 'wasm', 'cpu']);
  });
});

describe('a name means that one or an error', () => {
  test('a software adapter runs when asked for', async () => {
    const choice = await select([cuda, software, wasm], { device: 'webgpu' });
    expect(choice).toMatchObject({ backend: 'webgpu', hardware: 'software', batchSize: 8 });
    expect(choice.reason).toContain('asked for by name');
  });

  test('only the named one is looked at', async () => {
    const engines = [gpu, wasm, cpu].map(fakeEngine);
    await new DeviceManager(engines).select({ device: 'wasm' });
    expect(engines.map((e) => e.looked())).toEqual([0, 1, 0]);
  });

  test('each is looked at once for any number of automatic choices', async () => {
    const engines = [gpu, wasm, cpu].map(fakeEngine);
    const manager = new DeviceManager(engines);
    await manager.select();
    await manager.select();
    expect(engines.map((e) => e.looked())).toEqual([1, 1, 1]);
  });

  test.each<[string, readonly Fake[], SelectOptions['device'], string]>([
    ['not available', [absent(gpu), wasm], 'webgpu', '"webgpu" was asked for, but no gpu here; install one'],
    ['unknown here', [wasm, cpu], 'webgpu', 'no backend "webgpu" on this platform; it has wasm, cpu'],
    ['cuda without CUDA', [native], 'cuda', '"cuda" was asked for, but TensorFlow runs on the cpu'],
    ['cuda without TensorFlow', [absent(cuda)], 'cuda', '"cuda" was asked for, but no cuda here'],
    ['cuda where there is no TensorFlow at all', [wasm], 'cuda', 'no backend "cuda" on this platform'],
  ])('%s', async (_, fakes, device, message) => {
    await expect(select(fakes, { device })).rejects.toThrow(message);
    await expect(select(fakes, { device })).rejects.toBeInstanceOf(DeviceError);
  });

  test('cuda is TensorFlow on a CUDA GPU', async () => {
    expect(await select([cuda, gpu], { device: 'cuda' })).toMatchObject({
      backend: 'tensorflow',
      hardware: 'cuda',
    });
  });
});

describe('precision and batch size', () => {
  const wishes: readonly Fake[] = [cuda, gpu, apple, software, native, wasm, cpu];

  test.each(wishes)(
    'a wish for float16 on $name ($hardware) is granted, or refused with the reason',
    async (fake) => {
      const choice = await select([fake], { device: fake.name, precision: 'float16' });
      const granted = [cuda, gpu, apple, software].includes(fake);
      expect(choice.precision).toBe(granted ? 'float16' : 'float32');
      expect(choice.reason.includes(`float16 arithmetic is not available on ${fake.name}, so float32`)).toBe(
        !granted,
      );
    },
  );

  test('float16 is refused on a GPU that does not have it', async () => {
    const choice = await select([{ ...gpu, half: false }], { precision: 'float16' });
    expect(choice.precision).toBe('float32');
    expect(choice.reason).toContain('float16 arithmetic is not available on webgpu, so float32');
  });

  test('every device is exact until half precision is asked for', async () => {
    for (const fake of wishes) {
      const { precision, reason } = await select([fake], { device: fake.name });
      expect(precision).toBe('float32');
      expect(reason).not.toContain('float16');
    }
  });

  test('a wish for float32 needs no reason', async () => {
    const choice = await select([cuda], { precision: 'float32' });
    expect(choice.precision).toBe('float32');
    expect(choice.reason).not.toContain('float16');
  });

  test('the caller’s batch size replaces the policy’s', async () => {
    expect((await select([cuda], { batchSize: 3 })).batchSize).toBe(3);
  });
});

describe('a software adapter in the place of a GPU that was chosen, as after a crash', () => {
  test('the engine is told whether the choice was one', async () => {
    const asked: (EngineOptions | undefined)[] = [];
    const spy = (fake: Fake): Engine => {
      const engine = fakeEngine(fake);
      return {
        ...engine,
        start: async (options) => {
          asked.push(options);
          throw new DeviceError('as far as this test goes');
        },
      };
    };
    for (const fake of [gpu, software]) {
      const manager = new DeviceManager([spy(fake)]);
      const choice = await manager.select({ device: 'webgpu' });
      await expect(manager.start(choice)).rejects.toThrow('as far as');
    }
    expect(asked).toEqual([{ software: false }, { software: true }]);
  });

  test('is refused before a device is taken', async () => {
    const info = { vendor: 'google', architecture: 'swiftshader', device: '', description: '' };
    const requestDevice = () => expect.unreachable('no device may be taken');
    const adapter = { info, features: new Set(), requestDevice } as unknown as GPUAdapter;
    const refused = startWebGpu(adapter);
    await expect(refused).rejects.toBeInstanceOf(DeviceError);
    await expect(refused).rejects.toThrow(/runs only when asked for by name/);
  });
});

test.each([
  ['nvidia', true],
  ['amd', true],
  ['intel', false],
  ['apple', false],
  ['google', false],
])('a GPU of %s has memory of its own: %s', async (vendor, own) => {
  const architecture = vendor === 'google' ? 'swiftshader' : '';
  const info = { vendor, architecture, device: '', description: '' };
  const report = describeAdapter({ info, features: new Set() } as unknown as GPUAdapter);
  const engine: Engine = { name: 'webgpu', probe: async () => report, start: async () => report };
  expect(hasOwnMemory(await new DeviceManager([engine]).select({ device: 'webgpu' }))).toBe(own);
  expect(hasOwnMemory(await select([cuda], { device: 'cuda' }))).toBe(false); // told by another plan
});

test('a choice of another platform cannot be started here', async () => {
  const choice = await select([gpu]);
  await expect(new DeviceManager([fakeEngine(wasm)]).start(choice)).rejects.toThrow(
    'no engine for the backend "webgpu" on this platform',
  );
});
