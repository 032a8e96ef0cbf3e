import { FRAME_TOKENS, type PlannedBatch } from './activation-plan.ts';
import { DryRun, type MostHeld } from './dry-run.ts';
import { ROWS_AT_ONCE } from './layers/mlp.ts';
import type { LinearSpec } from './layers/spec.ts';
import type { ModelConfig } from './model-config.ts';
import type { ModelSpec } from './params.ts';
import type { Grid } from './vision/windows.ts';

// Which tensors a batch makes on WebGPU, where q, k, v and gate, up are one dispatch each. Each function stands for the one of its
// name in src/vision, src/decoder, src/layers and kernels, in the order of its code. test/gpu-allocation.test.ts holds it against
// what a device is asked for. Half precision and adapters that do not fit into such a dispatch take more.

/** Buffers of a batch's tensors, in the second call of its shape: it finds what the first one left. `rank`: see RunForm. */
export function gpuWork(config: ModelConfig, spec: ModelSpec, batch: PlannedBatch, rank: number): MostHeld {
  const dry = new DryRun();
  runBatch(dry, config, spec, batch, rank);
  dry.most();
  runBatch(dry, config, spec, batch, rank);
  return dry.most();
}

function runBatch(
  dry: DryRun,
  config: ModelConfig,
  spec: ModelSpec,
  { texts, images }: PlannedBatch,
  rank: number,
): void {
  const { vision: c, decoder: d } = config;
  const visual = images.map(([t, h, w]) => (t * h * w) / c.spatialMergeSize ** 2);
  const lengths = [...texts, ...visual.map((tokens) => tokens + FRAME_TOKENS)];
  const T = sum(lengths);
  const D = d.hiddenSize;
  let seen: GPUBuffer | null = null;
  if (images.length > 0) {
    seen = visionTower(dry, config, spec, images);
    dry.trim();
  }
  const x = seen ? mergeStream(dry, T, sum(visual), D) : dry.make(T * D);
  const layers = spec.model.layers.map(({ selfAttn: p, mlp }): BlockMaps => {
    return { qkv: [p.qProj, p.kProj, p.vProj], out: p.oProj, mlp };
  });
  const [last, ...rotary] = runBlocks(dry, layers, x, { T, headDim: d.headDim, rank });
  const hidden = rmsNorm(dry, T, D);
  dry.free(last, ...rotary);
  const vectors = dry.tidy(() => {
    dry.make(lengths.length * D); // means
    dry.make(lengths.length * D); // cut to size
    return dry.make(lengths.length * D);
  });
  dry.free(hidden, vectors, ...(seen ? [seen] : []));
  dry.trim();
}

function mergeStream(dry: DryRun, T: number, visual: number, D: number): GPUBuffer {
  const text = dry.make(T * D);
  return dry.tidy(() => {
    dry.make((T + visual) * D);
    dry.make(T);
    const merged = dry.make(T * D);
    dry.free(text);
    return merged;
  });
}

/** → visual tokens [M, D] */
function visionTower(
  dry: DryRun,
  { vision: c }: ModelConfig,
  { visual: { patchEmbed, blocks, merger } }: ModelSpec,
  grids: readonly Grid[],
): GPUBuffer {
  const C = c.hiddenSize;
  const P = sum(grids.map(([t, h, w]) => t * h * w));
  const M = P / c.spatialMergeSize ** 2;
  const patches = dry.tidy(() => {
    linear(dry, P, patchEmbed, 0);
    dry.make(P * c.patchValues);
    return reorder(dry, P * C, M);
  });
  const maps = blocks.map(({ attn, mlp }): BlockMaps => ({ qkv: [attn.qkv], out: attn.proj, mlp }));
  const [seen, ...rotary] = runBlocks(dry, maps, patches, { T: P, headDim: c.headDim, rank: 0 });
  const tokens = dry.tidy(() => {
    dry.tidy(() => {
      rmsNorm(dry, P, C);
      linear(dry, M, merger.mlp0, 0);
      gelu(dry, M * merger.mlp0.outSize);
      return linear(dry, M, merger.mlp2, 0);
    });
    return reorder(dry, M * merger.mlp2.outSize, M);
  });
  dry.free(seen, ...rotary);
  return tokens;
}

function reorder(dry: DryRun, values: number, groups: number): GPUBuffer {
  const gathered = dry.make(values);
  dry.make(groups);
  return gathered;
}

type BlockMaps = {
  readonly qkv: readonly LinearSpec[];
  readonly out: LinearSpec;
  readonly mlp: ModelSpec['model']['layers'][number]['mlp'];
};
type BlockForm = { readonly T: number; readonly headDim: number; readonly rank: number };

/** → the stream behind all blocks, and the rotary tables, which are uploaded when the first block reads them */
function runBlocks(
  dry: DryRun,
  blocks: readonly BlockMaps[],
  input: GPUBuffer,
  { T, headDim, rank }: BlockForm,
): readonly GPUBuffer[] {
  let x = input;
  dry.shrink();
  const rotary = [dry.make(T * headDim), dry.make(T * headDim)];
  for (const { qkv, out, mlp } of blocks) {
    const next = dry.tidy(() => {
      dry.tidy(() => {
        fusedAttention(dry, T, qkv, out, rank);
        return linear(dry, T, out, rank);
      });
      return normedMlp(dry, T, mlp, rank);
    });
    dry.free(x);
    x = next;
  }
  dry.shrink();
  return [x, ...rotary];
}

function fusedAttention(
  dry: DryRun,
  T: number,
  maps: readonly LinearSpec[],
  out: LinearSpec,
  rank: number,
): GPUBuffer {
  return dry.tidy(() => {
    normLow(dry, T, maps, rank);
    dry.make(T * sum(maps.map(({ outSize }) => outSize)));
    return dry.make(T * out.inSize);
  });
}

function normedMlp(dry: DryRun, T: number, { gateProj, upProj, downProj }: BlockMaps['mlp'], rank: number) {
  const part = (rows: number): GPUBuffer => {
    normLow(dry, rows, [gateProj, upProj], rank);
    dry.make(rows * gateProj.outSize);
    return linear(dry, rows, downProj, rank);
  };
  if (T <= ROWS_AT_ONCE) return dry.tidy(() => part(T));
  return dry.tidy(() => {
    for (let begin = 0; begin < T; begin += ROWS_AT_ONCE) {
      const rows = Math.min(ROWS_AT_ONCE, T - begin);
      dry.tidy(() => {
        dry.make(rows * gateProj.inSize); // slice
        return part(rows);
      });
    }
    return dry.make(T * gateProj.inSize);
  });
}

/** Columns of a low-rank term: its rank, filled up to fours. */
const lowColumns = (rank: number): number => 4 * Math.ceil(rank / 4);

const normLow = (dry: DryRun, T: number, maps: readonly LinearSpec[], rank: number): GPUBuffer =>
  dry.make(T * (maps[0].inSize + maps.length * lowColumns(rank)));

const rmsNorm = (dry: DryRun, T: number, D: number): GPUBuffer => dry.make(T * D);

function linear(dry: DryRun, T: number, { outSize }: LinearSpec, rank: number): GPUBuffer {
  return dry.tidy(() => {
    if (rank > 0) dry.make(T * lowColumns(rank));
    return dry.make(T * outSize);
  });
}

function gelu(dry: DryRun, values: number): GPUBuffer {
  return dry.tidy(() => {
    for (let i = 0; i < 4; i++) dry.make(values);
    return dry.make(values);
  });
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
