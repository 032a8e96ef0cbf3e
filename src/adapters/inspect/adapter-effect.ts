import type { Settings } from '../../config.ts';
import { InputError } from '../../errors.ts';
import type { MixedInput } from '../../options.ts';

/** The part of `JinaEmbeddings` that is needed: one unit vector an input; task null is the backbone alone. */
export type Embeds = {
  readonly model: { readonly adapters: ReadonlyMap<string, unknown> };
  encode(
    inputs: readonly MixedInput[],
    options: {
      readonly task: string | null;
      readonly precision: 'float32';
      readonly promptName?: Settings['promptName'];
      readonly signal?: AbortSignal;
    },
  ): Promise<readonly unknown[]>;
};

/** How far apart the vectors of two ways to run are, over all inputs: cosines, 1 is no effect at all. */
export type EffectPair = {
  /** Null is the backbone alone. */
  readonly from: string | null;
  readonly to: string;
  /** One an input, in their order. */
  readonly cosines: readonly number[];
  readonly mean: number;
  readonly least: number;
};

export type AdapterEffect = {
  readonly inputs: number;
  readonly adapters: readonly string[];
  /** The backbone with each adapter. */
  readonly moved: readonly EffectPair[];
  /** Every two adapters. */
  readonly between: readonly EffectPair[];
};

export type EffectOptions = {
  readonly promptName?: Settings['promptName'];
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
};

/**
 * Embeds inputs without an adapter and with each, and measures how far the vectors move. Adapters are those of the model by
 * name; default: all of them. @throws InputError for no inputs, no adapters, or an unknown name
 */
export async function adapterEffect(
  embedder: Embeds,
  inputs: readonly MixedInput[],
  adapters: readonly string[] = [...embedder.model.adapters.keys()],
  options: EffectOptions = {},
): Promise<AdapterEffect> {
  const { onProgress, ...call } = options;
  if (inputs.length === 0)
    throw new InputError('nothing to measure an effect on: the list of inputs is empty');
  if (adapters.length === 0)
    throw new InputError('no adapter to measure; name one, or load a model that has some');
  const known = [...embedder.model.adapters.keys()];
  const unknown = adapters.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new InputError(`no adapter named "${unknown}"; there are ${known.join(', ') || 'none'}`);
  const runs: { readonly name: string | null; readonly vectors: readonly Float32Array[] }[] = [];
  const names = [null, ...new Set(adapters)];
  for (const name of names) {
    const vectors = await embedder.encode(inputs, { ...call, task: name, precision: 'float32' });
    runs.push({ name, vectors: vectors as readonly Float32Array[] });
    onProgress?.(runs.length, names.length);
  }
  const [plain, ...adapted] = runs;
  const pair = (x: (typeof runs)[number], y: (typeof runs)[number]): EffectPair => {
    const cosines = x.vectors.map((v, i) => cosine(v, y.vectors[i]));
    return {
      from: x.name,
      to: y.name as string,
      cosines,
      mean: cosines.reduce((a, b) => a + b, 0) / cosines.length,
      least: Math.min(...cosines),
    };
  };
  return {
    inputs: inputs.length,
    adapters: adapted.map(({ name }) => name as string),
    moved: adapted.map((run) => pair(plain, run)),
    between: adapted.flatMap((x, i) => adapted.slice(i + 1).map((y) => pair(x, y))),
  };
}

function cosine(x: Float32Array, y: Float32Array): number {
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += x[i] * y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  return xy / Math.sqrt(xx * yy);
}
