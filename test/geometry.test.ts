import { beforeAll, expect, test } from 'vitest';
import { checkpointTensors, loraParameterCount, modelSpec, parameterCount } from '../src/params.ts';
import { startBackend } from './support/backends.ts';
import { gaussian } from './support/close.ts';
import { GEOMETRIES, geometryConfig, narrowed } from './support/geometries.ts';
import { randomAdapter, randomModel } from './support/random-model.ts';

beforeAll(() => startBackend('wasm'));

test('the published geometry has 826 tensors, 3,754,885,248 parameters and 59,936,768 per task adapter', () => {
  const spec = modelSpec(geometryConfig(GEOMETRIES.published));
  expect(checkpointTensors(spec).length).toBe(826);
  expect(parameterCount(spec)).toBe(3_754_885_248);
  expect(parameterCount(spec.visual)).toBe(668_684_288);
  expect(parameterCount(spec.model)).toBe(3_085_938_688);
  expect(loraParameterCount(spec, 32)).toBe(59_936_768);
});

test.each(Object.entries(GEOMETRIES))('%s: counts agree with the formula of the architecture', (_, g) => {
  const spec = modelSpec(geometryConfig(g));
  const H = g.hidden / g.heads;
  const kv = g.kvHeads * H;
  const vocab = Number(g.vocab);
  const layer =
    2 * g.hidden + 2 * g.hidden * g.hidden + g.hidden + 2 * (g.hidden * kv + kv) + 3 * g.hidden * g.mlp;
  expect(parameterCount(spec.model)).toBe(vocab * g.hidden + g.layers * layer + g.hidden);
  expect(checkpointTensors(spec.model).length).toBe(2 + 12 * g.layers);
  expect(checkpointTensors(spec.visual).length).toBe(390);
  const lora = (i: number, o: number) => 64 * (i + o);
  const perLayer =
    2 * lora(g.hidden, g.hidden) + 2 * lora(g.hidden, kv) + 2 * lora(g.hidden, g.mlp) + lora(g.mlp, g.hidden);
  expect(loraParameterCount(spec, 64)).toBe(g.layers * perLayer + lora(g.hidden, 128));
});

test('checkpoint names are unique and in the published layout', () => {
  const names = checkpointTensors(modelSpec(geometryConfig(GEOMETRIES.published))).map((t) => t.name);
  expect(new Set(names).size).toBe(names.length);
  for (const name of [
    'model.embed_tokens.weight',
    'model.layers.35.self_attn.k_proj.bias',
    'visual.patch_embed.proj.weight',
    'visual.blocks.31.attn.qkv.bias',
    'visual.merger.mlp.2.weight',
    'multi_vector_projector.bias',
  ]) {
    expect(names).toContain(name);
  }
});

test.each(Object.entries(GEOMETRIES))(
  '%s, made narrow: text and image run, with and without a LoRA of rank 64 with ReLU',
  async (_, g) => {
    const config = geometryConfig(narrowed(g));
    const { image, visionStart, visionEnd } = config.tokens;
    const model = randomModel(config);
    model.addAdapter(randomAdapter(config, 'relu', 64, 'relu'));
    model.addAdapter(randomAdapter(config, 'linear', 64, 'none'));
    const text = { ids: Int32Array.of(5, 9, 2) };
    const page = {
      ids: Int32Array.of(7, visionStart, image, image, image, image, visionEnd, 3),
      grids: [[1, 4, 4] as const],
    };
    const seen = await model.see({
      pixelValues: gaussian(16 * config.vision.patchValues, 5),
      grids: page.grids,
    });
    expect(seen.shape).toEqual([4, config.decoder.hiddenSize]);
    const results = [];
    for (const adapter of [null, 'relu', 'linear']) {
      const hidden = await model.forward([text, page], { seen, adapter });
      expect(hidden.shape).toEqual([11, config.decoder.hiddenSize]);
      const values = await hidden.data();
      expect(values.every(Number.isFinite)).toBe(true);
      // A token sees only its own sequence: the text alone gives the same rows.
      const alone = await model.forward([text], { adapter });
      expect([...(await alone.data())]).toEqual([...values.slice(0, 3 * config.decoder.hiddenSize)]);
      results.push(values);
      hidden.dispose();
      alone.dispose();
    }
    const differ = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Array.from(a).some((v, i) => Math.abs(v - b[i]) > 1e-3);
    expect(
      differ(results[0], results[1]) && differ(results[1], results[2]) && differ(results[0], results[2]),
    ).toBe(true);
    seen.dispose();
    model.dispose();
  },
);
