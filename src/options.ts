import type { OutputPrecision, Settings } from './config.ts';
import type { ImageInput } from './image/rgb-image.ts';

/** Called after every batch, in inputs. */
export type OnProgress = (done: number, total: number) => void;

/** Options of `load`. Settings given here are the defaults of every call. */
export type LoadOptions = Partial<Settings> & {
  readonly signal?: AbortSignal;
  /** Bytes of the checkpoint read so far, and in all. */
  readonly onProgress?: OnProgress;
  /** Refuse NaN and infinities in the weights. Default false. */
  readonly checkFinite?: boolean;
  /** Another LoRA folder instead of the checkpoint's own `adapters/`; `null` loads none. */
  readonly adapters?: string | URL | null;
};

/** Options of the encode calls. What is not given comes from the settings. */
export type EncodeOptions = {
  /** Adapter by task, one for all inputs or one for each; `null` runs the backbone alone. Default: the checkpoint's first. */
  readonly task?: string | null | readonly (string | null)[];
  /** `query` (default) or `passage`; `document` is another word for passage. Texts only. */
  readonly promptName?: Settings['promptName'];
  /** Matryoshka size: the vector is cut to it and normalised again. Default: full size. Single vectors only. */
  readonly truncateDim?: number | null;
  /** One vector a token instead of one an input. Default false. */
  readonly returnMultivector?: boolean;
  /** Inputs that run together. Default: the device's policy. Never changes a result, but for its last bits. */
  readonly batchSize?: number;
  /** Tokens that run together. Default 16384. */
  readonly tokenBudget?: number;
  /** Tokens of a text, prefix included. Default and maximum 32768. */
  readonly maxLength?: number;
  /** Pixels an image is resized down to. Default: the checkpoint's (602112 in the published one). */
  readonly maxPixels?: number;
  /** Unit vectors. Default true. */
  readonly normalize?: boolean;
  /** Element type of the result. Default float32. */
  readonly precision?: OutputPrecision;
  /** Control-token strings in a text act as control tokens. Default false. */
  readonly specialTokens?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
};

/** An entry of a mixed list: a string is a text, everything else an image; the object forms say it outright. */
export type MixedInput =
  | string
  | { readonly text: string }
  | { readonly image: ImageInput }
  | Exclude<ImageInput, string>;

/** The array type of one vector, by the precision asked for. */
export type VectorOf<O> = O extends { readonly precision: infer P }
  ? P extends 'float32'
    ? Float32Array
    : P extends 'float16'
      ? Uint16Array
      : P extends 'int8' | 'binary'
        ? Int8Array
        : P extends 'uint8' | 'ubinary'
          ? Uint8Array
          : Float32Array | Uint16Array | Int8Array | Uint8Array
  : Float32Array;

/** A vector, or one vector a token. */
export type EmbeddingOf<O> = O extends { readonly returnMultivector: true } ? VectorOf<O>[] : VectorOf<O>;

/** What is known about an embedding besides its numbers. */
export type EmbeddingDetails = {
  readonly type: 'text' | 'image';
  /** The task that was asked for, and the adapter that ran for it (they differ where an alias applies). */
  readonly task: string | null;
  readonly adapter: string | null;
  /** Tokens of the sequence; `truncated` when a text was cut to `maxLength`. */
  readonly tokens: number;
  readonly truncated: boolean;
  /** Quantised vectors: x ≈ scale · (q − zero), of the first row for multi-vectors. */
  readonly scale: number;
  readonly zero: number;
};
