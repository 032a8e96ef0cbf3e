import { expect, test } from 'vitest';
import { checkpointTensors, loraParameterCount, modelSpec, parameterCount } from '../src/params.ts';
import { GEOMETRIES, geometryConfig } from './support/geometries.ts';

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
  const vocab = 'vocab' in g ? g.vocab : 151936;
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
