import { blockRows, type CuSeqlens, cumulate, runsOf, SCORES_AT_ONCE } from '../kernels/index.ts';
import { ROWS_AT_ONCE } from './layers/mlp.ts';
import type { LinearSpec } from './layers/spec.ts';
import { type Live, made, tidy } from './live-memory.ts';
import type { ModelConfig } from './model-config.ts';
import type { ModelSpec } from './params.ts';
import { type Grid, windowOrder } from './vision/windows.ts';

// Which tensors are alive at once while a batch runs op by op (on WebGPU: gpu-work.ts). Each function stands for the one of its name in src/vision,
// src/decoder, src/layers and kernels, and says what that takes, in float32 values, step by step in the order of its code.
// test/memory-plan.test.ts holds it against what TF.js counts.

/** What runs together: texts by their tokens (prefix included), pictures by their patches. */
export type PlannedBatch = { readonly texts: readonly number[]; readonly images: readonly Grid[] };

/** How the numbers of a run depend on more than shapes. */
export type RunForm = {
  /** Weights are widened to float32 just before their use (any residence but float32). */
  readonly packed: boolean;
  /** LoRA rank that is on in the decoder; 0 without an adapter. */
  readonly rank: number;
};

// Tokens of text around a picture: "<|im_start|>user … Describe the image.<|im_end|>" and its like.
export const FRAME_TOKENS = 16;

/** Bytes of tensors alive at the worst moment of a batch, weights that are resident not counted. */
export function activationBytes(
  config: ModelConfig,
  spec: ModelSpec,
  { texts, images }: PlannedBatch,
  form: RunForm,
): number {
  const visual = images.map(([t, h, w]) => (t * h * w) / config.vision.spatialMergeSize ** 2);
  const seen = visual.reduce((a, b) => a + b, 0);
  const lengths = [...texts, ...visual.map((tokens) => tokens + FRAME_TOKENS)];
  const see = images.length ? tower(config, spec, images, { ...form, rank: 0 }) : made(0);
  return 4 * tidy(0, see, decoder(config, spec, lengths, seen, form)).peak;
}

/** see(): pixels to visual tokens [M, D]. */
function tower({ vision: c }: ModelConfig, spec: ModelSpec, grids: readonly Grid[], form: RunForm): Live {
  const { cuSeqlens, cuWindowSeqlens } = windowOrder(grids, c);
  const P = cuSeqlens[cuSeqlens.length - 1];
  const C = c.hiddenSize;
  const M = P / c.spatialMergeSize ** 2;
  const heads = { heads: c.numHeads, kvHeads: c.numHeads, headDim: c.headDim, causal: false };
  const block = (segments: CuSeqlens): Live => {
    const { norm1: _, attn, mlp } = spec.visual.blocks[0];
    const attended = tidy(
      P * C,
      tidy(3 * P * C, linear(P, attn.qkv, form), made(3 * P * C), rope(P * C), rope(P * C)), // apart, two of them turned
      attention(segments, heads),
      linear(P, attn.proj, form),
    );
    return tidy(
      P * C,
      rmsNorm(P, C),
      attended,
      made(P * C),
      rmsNorm(P, C),
      feedForward(P, mlp, form),
      made(P * C),
    );
  };
  const full = c.fullattBlockIndexes.length ? block(cuSeqlens).peak : 0;
  const worst = Math.max(full, c.fullattBlockIndexes.length < c.depth ? block(cuWindowSeqlens).peak : 0);
  const { patchEmbed, merger } = spec.visual;
  const embedded = tidy(P * C, made(P * c.patchValues), linear(P, patchEmbed, form), made(P * C));
  const inner = merger.mlp0.outSize;
  const merged = tidy(
    M * merger.mlp2.outSize,
    rmsNorm(P, C),
    linear(M, merger.mlp0, form),
    tidy(M * inner, made(M * inner), made(M * inner), made(M * inner), made(M * inner), made(M * inner)), // gelu
    linear(M, merger.mlp2, form),
    made(M * merger.mlp2.outSize),
  );
  // The rotary tables stay to the end; each block takes the stream over and gives it back.
  return tidy(M * merger.mlp2.outSize, made(2 * P * c.headDim), embedded, { peak: worst, left: 0 }, merged);
}

/** forward(): ids and visual tokens to hidden states [T, D]. `seen`: visual tokens among them, held by the caller. */
function decoder(
  { decoder: c }: ModelConfig,
  spec: ModelSpec,
  lengths: readonly number[],
  seen: number,
  form: RunForm,
): Live {
  const T = lengths.reduce((a, b) => a + b, 0);
  const D = c.hiddenSize;
  const heads = { heads: c.numAttentionHeads, kvHeads: c.numKeyValueHeads, headDim: c.headDim, causal: true };
  const { selfAttn: p, mlp } = spec.model.layers[0];
  const attended = tidy(
    T * D,
    linear(T, p.qProj, form),
    rope(T * p.qProj.outSize),
    linear(T, p.kProj, form),
    rope(T * p.kProj.outSize),
    linear(T, p.vProj, form),
    attention(cumulate(lengths), heads),
    linear(T, p.oProj, form),
  );
  const block = tidy(
    T * D,
    rmsNorm(T, D),
    attended,
    made(T * D),
    rmsNorm(T, D),
    feedForward(T, mlp, form),
    made(T * D),
  );
  const merge = seen > 0 ? tidy(T * D, made(T * D), made((T + seen) * D), made(T * D)) : made(T * D);
  return tidy(T * D, merge, made(2 * T * c.headDim), { peak: block.peak, left: 0 });
}

function linear(T: number, { inSize, outSize, bias }: LinearSpec, { packed, rank }: RunForm): Live {
  const dense = (rows: number, columns: number) => made(packed ? rows * columns : 0);
  const y = made(T * outSize);
  const lora = rank > 0 ? [dense(inSize, rank), made(T * rank), dense(rank, outSize), y, y] : [];
  return tidy(y.left, dense(inSize, outSize), y, ...(bias ? [y] : []), ...lora);
}

function feedForward(T: number, p: ModelSpec['model']['layers'][number]['mlp'], form: RunForm): Live {
  const D = p.gateProj.inSize;
  const part = (rows: number): Live => {
    const inner = made(rows * p.gateProj.outSize);
    const swiglu = tidy(inner.left, inner, inner, inner);
    return tidy(
      rows * D,
      linear(rows, p.gateProj, form),
      linear(rows, p.upProj, form),
      swiglu,
      linear(rows, p.downProj, form),
    );
  };
  if (T <= ROWS_AT_ONCE) return part(T);
  const before = (Math.ceil(T / ROWS_AT_ONCE) - 1) * ROWS_AT_ONCE;
  const last = part(T - before);
  const whole = part(ROWS_AT_ONCE);
  return tidy(
    T * D,
    made((before - ROWS_AT_ONCE) * D),
    tidy(ROWS_AT_ONCE * D, made(ROWS_AT_ONCE * D), whole),
    tidy((T - before) * D, made((T - before) * D), last),
    made(T * D),
  );
}

type Heads = {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
};

function attention(cuSeqlens: CuSeqlens, heads: Heads): Live {
  const runs = runsOf(cuSeqlens);
  const { heads: N, kvHeads: K, headDim: H } = heads;
  const T = runs.reduce((sum, r) => sum + r.length * r.count, 0);
  const parts = runs.map((run) => {
    const rows = run.length * run.count;
    const taken = runs.length > 1 ? rows * (N + 2 * K) * H : 0;
    return tidy(rows * N * H, made(taken), attendRun(run, heads));
  });
  return tidy(T * N * H, ...parts, made(runs.length > 1 ? T * N * H : 0));
}

/** The last block of query rows is the worst: all before it are there, and a causal one sees every key. */
function attendRun(
  { length: L, count: S }: ReturnType<typeof runsOf>[number],
  { heads: N, kvHeads: K, headDim: H, causal }: Heads,
): Live {
  const all = S * L * N * H;
  const keys = S * L * K * H;
  const block = blockRows(L, S * N, SCORES_AT_ONCE);
  const one = block === L;
  const seen = one ? L : Math.floor((L - 1) / block) * block; // the last block but one is whole
  const scores = made(S * N * block * L);
  const mixed = made(S * N * block * H);
  const attended = tidy(
    mixed.left,
    made(one ? 0 : S * N * block * H),
    made(one || !causal ? 0 : 2 * S * K * seen * H),
    scores,
    made(causal && block > 1 ? block * L : 0),
    made(causal && block > 1 ? scores.left : 0),
    scores, // softmax
    mixed,
  );
  return tidy(
    all,
    made(all), // heads apart
    made(all), // scaled
    made(keys),
    made(keys),
    made(all - mixed.left),
    attended,
    made(one ? 0 : all),
    made(all), // heads together again
  );
}

function rope(size: number): Live {
  const half = made(size / 2);
  const whole = made(size);
  return tidy(size, half, half, half, whole, whole, whole, whole);
}

const rmsNorm = (T: number, D: number): Live =>
  tidy(T * D, tidy(T, made(T * D), made(3 * T)), made(T * D), made(T * D));
