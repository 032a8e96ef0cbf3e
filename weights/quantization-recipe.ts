import { CheckpointError } from '../src/errors.ts';
import { crcText } from './crc32.ts';
import { elementCount } from './dtypes.ts';
import { QUANT_DTYPES, type QuantFormat, quantRowBytes } from './quantization.ts';
import { parseJson } from './read-text.ts';
import type { SafetensorsHeader, TensorEntry } from './safetensors-header.ts';

// A quantised checkpoint is safetensors of our own layout (README.md in this folder): what it is made of and how stands in the
// metadata of every file, with a checksum for every tensor.

/** Element types that linear maps can be stored in. */
export type StoredPrecision = 'float16' | QuantFormat;
export const STORED_PRECISIONS: readonly StoredPrecision[] = ['int8', 'int4', 'float16'];

/** How a checkpoint was quantised, and what it was before. The same in each of its files. */
export type QuantizationRecipe = {
  readonly precision: StoredPrecision;
  /** Neighbours that share a scale; null: a row does (int8), or there are no scales (float16). */
  readonly group: number | null;
  /** What made it, with its version. */
  readonly tool: string;
  /** What int4 maps were rounded for: so many inputs, and the SHA-256 of what they were. Not given: each weight for itself. */
  readonly calibration?: { readonly inputs: number; readonly sha256: string };
  /** The files that it was made from. */
  readonly source: readonly { readonly file: string; readonly bytes: number; readonly sha256: string }[];
};

const FORMAT = 'jina-embeddings/1';
const damaged = 'the file is damaged: download it again, or quantise it again';

/** The name of the tensor that holds a quantised tensor's scales. */
export const scalesName = (name: string): string => `${name}_scale`;

/** `__metadata__` of a file. `checksums` of all its tensors; `shapes` of those whose codes are stored in another shape. */
export const recipeMetadata = (
  recipe: QuantizationRecipe,
  checksums: ReadonlyMap<string, number>,
  shapes: ReadonlyMap<string, readonly number[]>,
): Readonly<Record<string, string>> => ({
  format: FORMAT,
  quantization: JSON.stringify(recipe),
  crc32: JSON.stringify(Object.fromEntries([...checksums].map(([name, crc]) => [name, crcText(crc)]))),
  ...(shapes.size > 0 && { shapes: JSON.stringify(Object.fromEntries(shapes)) }),
});

/** The shape of a tensor's codes in the file: int8 as the matrix's own, int4 [out, groups, 16]. */
export function codesShape(format: QuantFormat, shape: readonly number[]): readonly number[] {
  if (format === 'int8') return shape;
  const [rows, ...rest] = shape;
  return [rows, quantRowBytes(format, elementCount(rest)).codes / 16, 16];
}

/** The shape of its scales: int8 [out], int4 [out, groups]. */
export const scalesShape = (format: QuantFormat, shape: readonly number[]): readonly number[] =>
  format === 'int8' ? [shape[0]] : codesShape(format, shape).slice(0, 2);

/**
 * The tensors of a file as what they stand for: codes and scales become one entry of the matrix's own shape, and every entry
 * has its checksum. A file that is not of our layout comes back as it is, without a recipe.
 * @throws CheckpointError for a layout of a later version, or one that contradicts itself
 */
export function describeTensors({ metadata, tensors }: SafetensorsHeader): {
  readonly recipe: QuantizationRecipe | null;
  readonly entries: readonly TensorEntry[];
} {
  const plain = [...tensors.values()];
  const [first] = plain;
  if (first === undefined || !metadata.format?.startsWith('jina-embeddings/')) {
    return { recipe: null, entries: plain };
  }
  const where = first.source.name;
  if (metadata.format !== FORMAT) {
    throw new CheckpointError(
      `${where}: has the layout ${metadata.format}, this version reads ${FORMAT}; update, or quantise again`,
    );
  }
  const json = (key: string): unknown => parseJson(metadata[key] ?? '{}', `${where}: __metadata__ ${key}`);
  const recipe = parseRecipe(json('quantization'), where);
  const checksums = json('crc32') as Readonly<Record<string, string>>;
  const shapes = json('shapes') as Readonly<Record<string, readonly number[]>>;
  const checked = new Map(
    plain.map((entry) => [entry.name, { ...entry, checksum: checksumOf(entry, checksums[entry.name]) }]),
  );
  const entries = [...checked.values()].flatMap((entry): TensorEntry[] => {
    if (isScalesOf(entry.name, checked)) return [];
    const scales = checked.get(scalesName(entry.name));
    return [scales ? quantizedEntry(entry, scales, shapes[entry.name] ?? entry.shape) : entry];
  });
  return { recipe, entries };
}

const isScalesOf = (name: string, all: ReadonlyMap<string, unknown>): boolean =>
  name.endsWith(scalesName('')) && all.has(name.slice(0, -scalesName('').length));

function parseRecipe(json: unknown, where: string): QuantizationRecipe {
  const { precision, group, tool, calibration, source } = json as Partial<QuantizationRecipe>;
  const sound =
    STORED_PRECISIONS.includes(precision as StoredPrecision) &&
    typeof tool === 'string' &&
    Array.isArray(source);
  if (sound)
    return {
      precision,
      group: group ?? null,
      tool,
      ...(calibration && { calibration }),
      source,
    } as QuantizationRecipe;
  throw new CheckpointError(
    `${where}: __metadata__ quantization has no precision, tool and source: ${JSON.stringify(json).slice(0, 100)}; ${damaged}`,
  );
}

function checksumOf(entry: TensorEntry, text: unknown): number {
  if (typeof text === 'string' && /^[0-9a-f]{8}$/.test(text)) return Number.parseInt(text, 16);
  throw new CheckpointError(
    `${entry.source.name}: tensor ${JSON.stringify(entry.name)} has no checksum (found ${JSON.stringify(text)}); ${damaged}`,
  );
}

function quantizedEntry(codes: TensorEntry, scales: TensorEntry, shape: readonly number[]): TensorEntry {
  const formats = Object.keys(QUANT_DTYPES) as QuantFormat[];
  const format = formats.find((f) => QUANT_DTYPES[f].codes === codes.dtype);
  const fits =
    format !== undefined &&
    Array.isArray(shape) &&
    shape.length >= 2 &&
    QUANT_DTYPES[format].scales === scales.dtype &&
    codesShape(format, shape).join() === codes.shape.join() &&
    scalesShape(format, shape).join() === scales.shape.join();
  if (fits) return { ...codes, shape, quantized: { format, scales } };
  throw new CheckpointError(
    `${codes.source.name}: tensor ${JSON.stringify(codes.name)}: codes ${codes.dtype} [${codes.shape.join(', ')}] and scales ` +
      `${scales.dtype} [${scales.shape.join(', ')}] do not make a matrix [${String(shape)}]; ${damaged}`,
  );
}
