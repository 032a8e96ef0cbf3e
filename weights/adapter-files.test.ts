import { describe, expect, test } from 'vitest';
import { CheckpointError } from '../src/errors.ts';
import { openFolder } from '../src/platform/node-files.ts';
import { type AdapterFile, type ListAdapterOptions, listAdapterFiles } from './adapter-files.ts';
import { parseAdapterTensorName } from './adapter-names.ts';
import type { FileTree } from './byte-source.ts';
import type { Dtype } from './dtypes.ts';
import { memoryTree } from './memory-source.ts';
import { readFloat32 } from './safetensors.ts';
import { encodeSafetensors } from './safetensors-writer.ts';

type Shapes = Readonly<Record<string, readonly number[]>>;

const fileOf = (shapes: Shapes, dtype: Dtype = 'F32') =>
  encodeSafetensors(
    Object.entries(shapes).map(([name, shape]) => {
      const n = shape.reduce((a, b) => a * b, 1);
      return { name, dtype, shape, data: dtype === 'F32' ? new Float32Array(n) : new Int8Array(n) };
    }),
  );

const configOf = (more: object = {}) => JSON.stringify({ peft_type: 'LORA', r: 4, lora_alpha: 8, ...more });

const q = 'base_model.model.model.language_model.layers.0.self_attn.q_proj';
const canonicalQ = 'model.layers.0.self_attn.q_proj';

/** A and B of rank 4 on q; `label` goes between part and `weight`. */
const onQ = (label = '', r = 4): Shapes => ({
  [`${q}.lora_A${label}.weight`]: [r, 6],
  [`${q}.lora_B${label}.weight`]: [8, r],
});

const folder = (path: string, shapes: Shapes, config: object = {}, dtype?: Dtype) => ({
  [`${path}adapter_config.json`]: configOf(config),
  [`${path}adapter_model.safetensors`]: fileOf(shapes, dtype),
});

const inRoot = (shapes: Shapes, config: object = {}, options: ListAdapterOptions = {}) =>
  listAdapterFiles(memoryTree('mine', folder('', shapes, config)), options);

const together = (shapes: Shapes, config: object = {}) =>
  listAdapterFiles(memoryTree('m', folder('adapters/', shapes, config)));

const tasksOf = (files: readonly AdapterFile[]) => files.map((file) => file.task);

const messageOf = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.catch((e: unknown) => e);
  expect(error).toBeInstanceOf(CheckpointError);
  return (error as Error).message;
};

/** The same tree, that cannot be listed. */
const unlisted = (tree: FileTree): FileTree => ({ ...tree, list: async () => null });

test('the golden file: three tasks, each (3 layers × 7 + 1) modules of rank 4', async () => {
  const tree = await openFolder('test/golden');
  const files = await listAdapterFiles(tree);
  expect(tasksOf(files).sort()).toEqual(['code', 'retrieval', 'text-matching']);
  const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((p) => `self_attn.${p}`);
  const names = [0, 1, 2].flatMap((layer) =>
    [...projections, 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'].map(
      (p) => `model.layers.${layer}.${p}`,
    ),
  );
  for (const { task, modules, config } of files) {
    expect([...modules.keys()].sort()).toEqual([...names, 'multi_vector_projector'].sort());
    expect(config).toMatchObject({ r: 4, loraAlpha: 4, activation: 'none', useDora: false });
    const { a, b, scale } = modules.get('model.layers.1.mlp.down_proj')!;
    expect([a.shape, b.shape, scale]).toEqual([[4, 96], [64, 4], 1]);
    expect(a.name).toBe(`base_model.model.model.language_model.layers.1.mlp.down_proj.lora_A.${task}.weight`);
    expect((await readFloat32(b, { checkFinite: true })).some((v) => v !== 0)).toBe(true);
  }
  await tree.close();
});

describe('where adapters lie', () => {
  test('none', async () => {
    expect(await listAdapterFiles(memoryTree('m', { 'config.json': '{}' }))).toEqual([]);
    expect(await listAdapterFiles(unlisted(memoryTree('m', {})), { taskNames: ['code'] })).toEqual([]);
  });

  test('one file: `.task`, `.default.task`, and one task alone', async () => {
    expect(tasksOf(await together({ ...onQ('.code'), ...onQ('.text-matching') }))).toEqual([
      'code',
      'text-matching',
    ]);
    expect(tasksOf(await together({ ...onQ('.default.code'), ...onQ('.default.text-matching') }))).toEqual([
      'code',
      'text-matching',
    ]);
    expect(tasksOf(await together(onQ('.code')))).toEqual(['code']);
    expect(tasksOf(await together(onQ('.default.code')))).toEqual(['code']);
    expect(tasksOf(await together(onQ('.default')))).toEqual(['default']);
    expect(tasksOf(await together(onQ()))).toEqual(['default']);
  });

  test('a folder a task, listed or not, whatever name is inside', async () => {
    const tree = memoryTree('m', {
      ...folder('adapters/retrieval/', onQ('.default')),
      ...folder('adapters/text-matching/', onQ()),
      ...folder('adapters/code/', onQ('.code')),
    });
    expect(tasksOf(await listAdapterFiles(tree))).toEqual(['code', 'retrieval', 'text-matching']);
    const some = await listAdapterFiles(unlisted(tree), { taskNames: ['text-matching', 'other', 'code'] });
    expect(tasksOf(some)).toEqual(['text-matching', 'code']);
    expect([...some[0].modules.keys()]).toEqual([canonicalQ]);
  });

  test('plain PEFT takes the given name, or the folder’s', async () => {
    expect(tasksOf(await inRoot(onQ(), {}, { name: 'legal' }))).toEqual(['legal']);
    expect(tasksOf(await inRoot(onQ('.default'), {}, { name: 'legal' }))).toEqual(['legal']);
    expect(tasksOf(await listAdapterFiles(memoryTree('/home/me/mine/', folder('', onQ()))))).toEqual([
      'mine',
    ]);
  });

  test('the published adapters folder itself, as a tree', async () => {
    expect(tasksOf(await inRoot({ ...onQ('.code'), ...onQ('.retrieval') }, {}, { name: 'x' }))).toEqual([
      'code',
      'retrieval',
    ]);
    expect(tasksOf(await inRoot(onQ('.default.code'), {}, { name: 'x' }))).toEqual(['code']);
  });

  test('a config without weights, or with pickled ones', async () => {
    const tree = memoryTree('m', { 'adapters/code/adapter_config.json': configOf() });
    expect(await messageOf(listAdapterFiles(tree))).toMatch(
      /m: adapters\/code\/adapter_config\.json is there, but not adapters\/code\/adapter_model\.safetensors; download/,
    );
    const pickled = memoryTree('m', { 'adapter_config.json': configOf(), 'adapter_model.bin': 'x' });
    expect(await messageOf(listAdapterFiles(pickled))).toMatch(
      /pickles are not read: .*safe_serialization=True/,
    );
  });

  test('two folders for one task', async () => {
    const tree = memoryTree('m', {
      ...folder('adapters/a/', { ...onQ('.code'), ...onQ('.x') }),
      ...folder('adapters/code/', onQ()),
    });
    expect(await messageOf(listAdapterFiles(tree))).toMatch(
      /two folders below adapters\/ hold an adapter for "code"/,
    );
  });
});

const PLAIN = { modulesToSave: [], bias: 'none' } as const;

test.each([
  ['base_model.model.model.layers.7.mlp.up_proj', 'model.layers.7.mlp.up_proj'],
  ['base_model.model.language_model.layers.7.mlp.up_proj', 'model.layers.7.mlp.up_proj'],
  ['base_model.model.model.language_model.layers.7.mlp.up_proj', 'model.layers.7.mlp.up_proj'],
  ['base_model.model.language_model.model.layers.7.mlp.up_proj', 'model.layers.7.mlp.up_proj'],
  ['base_model.model.visual.blocks.0.attn.qkv', 'visual.blocks.0.attn.qkv'],
  ['base_model.model.model.visual.blocks.0.attn.qkv', 'visual.blocks.0.attn.qkv'],
  ['base_model.model.multi_vector_projector', 'multi_vector_projector'],
  ['base_model.model.custom_text_proj', 'custom_text_proj'],
])('module path %s → %s', (path, module) => {
  expect(parseAdapterTensorName(`${path}.lora_A.weight`, PLAIN)).toMatchObject({
    module,
    part: 'a',
    labels: [],
  });
  expect(parseAdapterTensorName(`${path}.lora_B.default.text-matching.weight`, PLAIN)).toMatchObject({
    module,
    part: 'b',
    labels: ['default', 'text-matching'],
  });
  expect(parseAdapterTensorName(`${path}.lora_B.x.bias`, PLAIN)).toMatchObject({
    part: 'bBias',
    labels: ['x'],
  });
  expect(parseAdapterTensorName(`${path}.lora_magnitude_vector`, PLAIN)).toMatchObject({
    part: 'magnitude',
    labels: [],
  });
  expect(parseAdapterTensorName(`${path}.lora_magnitude_vector.default.weight`, PLAIN)).toMatchObject({
    part: 'magnitude',
  });
});

describe('scale', () => {
  const scaleOf = async (config: object, r = 4) =>
    (await inRoot(onQ('', r), config))[0].modules.get(canonicalQ)!.scale;

  test('alpha/r, alpha/√r, patterns; the tensor tells r', async () => {
    expect(await scaleOf({})).toBe(2);
    expect(await scaleOf({ use_rslora: true })).toBe(4);
    expect(await scaleOf({ alpha_pattern: { q_proj: 1 } })).toBe(0.25);
    expect(await scaleOf({ alpha_pattern: { proj: 1 } })).toBe(2); // a pattern matches whole path segments at its start
    expect(await scaleOf({ alpha_pattern: { 'layers\\.[0-3]\\..*': 1, q_proj: 100 } })).toBe(0.25); // the first match counts
    expect(await scaleOf({ alpha_pattern: { '^model.language_model.layers.0.self_attn.q_proj': 1 } })).toBe(
      0.25,
    );
    expect(await scaleOf({ rank_pattern: { q_proj: 2 } }, 2)).toBe(4);
    expect(await scaleOf({ r: 16 }, 2)).toBe(4);
  });

  test('a rank that the pattern denies', async () => {
    expect(await messageOf(scaleOf({ rank_pattern: { q_proj: 2 } }))).toContain(
      `wrong rank  ${canonicalQ} (mine): rank_pattern says 2, lora_A is [4, 6]`,
    );
  });
});

describe('the optional parts', () => {
  const saved = 'base_model.model.multi_vector_projector';

  test('a bias of B, and a ReLU', async () => {
    const more = { lora_bias: true, activation: 'relu', modules_to_save: null };
    const [file] = await inRoot({ ...onQ(), [`${q}.lora_B.bias`]: [8] }, more);
    expect(file.modules.get(canonicalQ)?.bBias?.shape).toEqual([8]);
    expect(file.config).toMatchObject({
      activation: 'relu',
      useDora: false,
      loraBias: true,
      modulesToSave: [],
    });
  });

  test.each(['', '.weight', '.default.weight', '.default'])(
    'DoRA, written lora_magnitude_vector%s',
    async (tail) => {
      const shapes = {
        ...onQ(tail.includes('default') ? '.default' : ''),
        [`${q}.lora_magnitude_vector${tail}`]: [8],
      };
      const [file] = await inRoot(shapes, { use_dora: true });
      expect(file.modules.get(canonicalQ)?.magnitude?.shape).toEqual([8]);
    },
  );

  test('a convolution, as PEFT shapes its parts', async () => {
    const conv = 'base_model.model.visual.patch_embed.proj';
    const shapes = {
      [`${conv}.lora_A.weight`]: [4, 3, 2, 14, 14],
      [`${conv}.lora_B.weight`]: [8, 4, 1, 1, 1],
      [`${conv}.lora_magnitude_vector`]: [1, 8, 1, 1, 1],
    };
    const [file] = await inRoot(shapes, { use_dora: true });
    expect(file.modules.get('visual.patch_embed.proj')?.scale).toBe(2);
  });

  test.each([
    ['plain', '', ''],
    ['in PEFT’s wrapper', '.modules_to_save.default', '.default'],
  ])('a module that is saved whole, %s', async (_, inside, label) => {
    const shapes = {
      ...onQ(label),
      [`${saved}${inside}.weight`]: [4, 6],
      [`${saved}${inside}.bias`]: [4],
      'base_model.model.visual.merger.mlp.0.weight': [4, 4],
    };
    const [file] = await inRoot(shapes, { modules_to_save: ['multi_vector_projector', 'merger'] });
    expect([...file.modules.keys()]).toEqual([canonicalQ]);
    expect([...file.saved.keys()]).toEqual(['multi_vector_projector', 'visual.merger.mlp.0']);
    expect(file.saved.get('multi_vector_projector')?.bias?.shape).toEqual([4]);
  });

  test('what does not go together', async () => {
    const more = { modules_to_save: ['multi_vector_projector'] };
    const beside = {
      ...onQ(),
      [`${saved}.weight`]: [4, 6],
      [`${saved}.lora_A.weight`]: [4, 6],
      [`${saved}.lora_B.weight`]: [4, 4],
    };
    expect(await messageOf(inRoot(beside, more))).toContain(
      'a LoRA, and saved as a whole by modules_to_save',
    );
    expect(await messageOf(inRoot({ ...onQ(), [`${saved}.bias`]: [4] }, more))).toContain(
      'missing     the weight of multi_vector_projector (mine)',
    );
    const several = { ...onQ('.code'), ...onQ('.retrieval'), [`${saved}.weight`]: [4, 6] };
    expect(await messageOf(together(several, more))).toContain(
      'modules_to_save or bias holds for one adapter, but this file has code, retrieval',
    );
    expect(
      await messageOf(inRoot({ ...onQ(), [`${saved}.modules_to_save.default.weight`]: [4, 6] })),
    ).toContain('modules_to_save does not name it');
    expect(await messageOf(inRoot({ ...onQ(), [`${q}.lora_B.bias`]: [8] }))).toContain('lora_bias is false');
    expect(await messageOf(inRoot(onQ(), { use_dora: true, lora_bias: true }))).toContain(
      'exclude each other',
    );
    expect(await messageOf(inRoot(onQ(), { use_dora: true, activation: 'relu' }))).toContain(
      'activation "relu"',
    );
  });
});

describe('what is wrong is told, all of it, in one message', () => {
  test('tensors', async () => {
    const shapes = {
      ...onQ('.code'),
      [`${q}.weight`]: [8, 6],
      'base_model.model.model.layers.0.mlp.up_proj.lora_A.code.weight': [4, 6],
      'base_model.model.model.layers.0.mlp.down_proj.lora_B.code.weight': [8, 4],
      'base_model.model.model.layers.0.mlp.gate_proj.lora_A.code.weight': [4, 6],
      'base_model.model.model.layers.0.mlp.gate_proj.lora_B.code.weight': [8, 2],
      'base_model.model.visual.patch_embed.proj.lora_A.code.weight': [4, 3, 2, 14, 14],
      'base_model.model.visual.patch_embed.proj.lora_B.code.weight': [8, 4, 1, 2, 1],
      'base_model.model.model.embed_tokens.lora_embedding_A.code': [4, 9],
      [`${q}.base_layer.bias`]: [8],
      'base_model.model.lm_head.weight': [9, 6],
      'base_model.model.model.language_model.layers.0.self_attn.k_proj.lora_A.a.b.c.weight': [4, 6],
      'base_model.model.model.layers.0.self_attn.q_proj.lora_A.code.weight': [4, 6],
      [`${q}.lora_magnitude_vector.code`]: [8],
    };
    const message = await messageOf(together(shapes, { modules_to_save: ['lm_head'] }));
    expect(message.split('\n')[0]).toBe(
      'm/adapters/adapter_model.safetensors: this adapter cannot be used (10 problems):',
    );
    expect(message.split('\n').slice(1).sort()).toEqual(
      [
        `  unexpected  ${q}.weight: not a LoRA tensor`,
        '  missing     lora_B of model.embed_tokens (code)',
        `  unexpected  ${q}.base_layer.bias: the config says bias: none`,
        '  unexpected  base_model.model.model.language_model.layers.0.self_attn.k_proj.lora_A.a.b.c.weight: not a name that PEFT gives to a LoRA tensor',
        `  unexpected  ${q}.lora_magnitude_vector.code: use_dora is false`,
        '  missing     lora_B of model.layers.0.mlp.up_proj (code)',
        '  missing     lora_A of model.layers.0.mlp.down_proj (code)',
        '  wrong shape model.layers.0.mlp.gate_proj (code): expected A [r, in] and B [out, r], found A [4, 6] and B [8, 2]',
        '  wrong shape visual.patch_embed.proj (code): expected A [r, in] and B [out, r], found A [4, 3, 2, 14, 14] and B [8, 4, 1, 2, 1]',
        `  twice       base_model.model.model.layers.0.self_attn.q_proj.lora_A.code.weight: the same part of the same module as ${q}.lora_A.code.weight`,
      ].sort(),
    );
  });

  test('an A without its B in one task of several', async () => {
    const { [`${q}.lora_B.code.weight`]: _, ...shapes } = { ...onQ('.code'), ...onQ('.retrieval') };
    expect(await messageOf(together(shapes))).toContain(
      `(1 problem):\n  missing     lora_B of ${canonicalQ} (code)`,
    );
  });

  test('labels on some tensors only, quantised tensors, no tensors, missing parts, wrong vectors', async () => {
    expect(
      await messageOf(
        together({ ...onQ('.code'), 'visual.x.lora_A.weight': [4, 6], 'visual.x.lora_B.weight': [8, 4] }),
      ),
    ).toMatch(
      /some tensors carry a task or adapter name and some do not: .*q_proj has code, visual\.x has no label/,
    );
    const quantised = memoryTree('m', folder('', onQ(), {}, 'I8'));
    expect(await messageOf(listAdapterFiles(quantised))).toMatch(
      /wrong dtype .*lora_A\.weight: I8 is not a float/,
    );
    expect(await messageOf(inRoot({}))).toMatch(/the file holds no tensors/);
    expect(await messageOf(inRoot(onQ(), { use_dora: true }))).toMatch(
      /missing {5}lora_magnitude_vector of .*use_dora is true/,
    );
    expect(await messageOf(inRoot(onQ(), { lora_bias: true }))).toMatch(
      /missing {5}the bias of lora_B of .*lora_bias is true/,
    );
    expect(await messageOf(inRoot({ ...onQ(), [`${q}.lora_B.bias`]: [6] }, { lora_bias: true }))).toMatch(
      /lora_B\.bias: expected \[8\], found \[6\]/,
    );
  });

  test('configs', async () => {
    const wrong = {
      peft_type: 'LOHA',
      r: 0,
      lora_alpha: 'x',
      bias: 'some',
      activation: 'gelu',
      use_dora: 1,
      rank_pattern: { q: 0.5 },
      alpha_pattern: { '(': 1 },
      modules_to_save: 'lm_head',
      init_lora_weights: 'pissa_niter_16',
      layer_replication: [[0, 4]],
    };
    const message = await messageOf(inRoot(onQ(), wrong));
    expect(message).toMatch(/^mine\/adapter_config\.json: this adapter cannot be used:\n/);
    for (const line of [
      'peft_type must be "LORA", the only kind that is supported, got "LOHA"',
      'r must be a positive whole number, got 0',
      'lora_alpha must be a number, got "x"',
      'bias must be "none", "all" or "lora_only", got "some"',
      'activation must be "none" or "relu", got "gelu"',
      'use_dora must be true or false, got 1',
      'rank_pattern must be an object of regular expressions and positive whole numbers, got {"q":0.5}',
      'alpha_pattern must be an object of regular expressions and numbers, got {"(":1}',
      'modules_to_save must be a list of module names, got "lm_head"',
      'init_lora_weights must be one that leaves the base as it is',
      'layer_replication is not supported here yet, got [[0,4]]',
    ]) {
      expect(message).toContain(`\n  ${line}`);
    }
    expect(await messageOf(listAdapterFiles(memoryTree('m', { 'adapter_config.json': 'null' })))).toMatch(
      /expected a JSON object, got null/,
    );
    expect(await messageOf(listAdapterFiles(memoryTree('m', { 'adapter_config.json': '{}' })))).toMatch(
      /peft_type must be .* got nothing\n/,
    );
  });
});
