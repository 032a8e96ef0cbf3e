import { CheckpointError } from '../errors.ts';

/** What `preprocessor_config.json` says about images. */
export type ImageProcessorConfig = {
  /** Smallest and largest area in pixels after resizing. */
  readonly minPixels: number;
  readonly maxPixels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly mergeSize: number;
  readonly imageMean: readonly number[]; // [3], R G B, of pixels scaled to 0 … 1
  readonly imageStd: readonly number[]; //  [3]
  readonly rescaleFactor: number; //        1/255
};

/**
 * Reads `preprocessor_config.json`. The pixel bounds are `min_pixels` and `max_pixels`, or
 * `size.shortest_edge` and `size.longest_edge` as transformers 5 writes them.
 *
 * @throws CheckpointError that names the key when one is missing, malformed, or asks for a step that is not done here
 */
export function parsePreprocessorConfig(json: unknown): ImageProcessorConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CheckpointError(`preprocessor_config.json must hold an object, got ${JSON.stringify(json)}`);
  }
  const fields = json as Record<string, unknown>;
  const size = (fields.size ?? {}) as Record<string, unknown>;
  refuseOtherSteps(fields);
  const minPixels = fields.min_pixels ?? size.shortest_edge;
  const maxPixels = fields.max_pixels ?? size.longest_edge;
  const config = {
    minPixels: positive(minPixels, 'min_pixels (or size.shortest_edge)', Number.isInteger),
    maxPixels: positive(maxPixels, 'max_pixels (or size.longest_edge)', Number.isInteger),
    patchSize: positive(fields.patch_size, 'patch_size', Number.isInteger),
    temporalPatchSize: positive(fields.temporal_patch_size, 'temporal_patch_size', Number.isInteger),
    mergeSize: positive(fields.merge_size, 'merge_size', Number.isInteger),
    imageMean: rgbTriple(fields.image_mean, 'image_mean', Number.isFinite),
    imageStd: rgbTriple(fields.image_std, 'image_std', (x) => Number.isFinite(x) && x > 0),
    rescaleFactor: positive(fields.rescale_factor, 'rescale_factor', Number.isFinite),
  };
  if (config.minPixels > config.maxPixels) {
    throw new CheckpointError(
      `preprocessor_config.json: min_pixels ${config.minPixels} is larger than max_pixels ${config.maxPixels}`,
    );
  }
  return Object.freeze(config);
}

/** Every image is resized (bicubic), rescaled and normalised; a file that asks for less would give other numbers. */
function refuseOtherSteps(fields: Record<string, unknown>): void {
  for (const step of ['do_resize', 'do_rescale', 'do_normalize']) {
    if (fields[step] === false) {
      throw new CheckpointError(
        `preprocessor_config.json: ${step} is false; this step cannot be left out here`,
      );
    }
  }
  if (fields.resample !== undefined && fields.resample !== 3) {
    throw new CheckpointError(
      `preprocessor_config.json: resample is ${JSON.stringify(fields.resample)}; only 3 (bicubic) is implemented`,
    );
  }
}

function positive(value: unknown, key: string, valid: (x: number) => boolean): number {
  if (value === undefined || value === null)
    throw new CheckpointError(`preprocessor_config.json has no ${key}`);
  if (typeof value === 'number' && valid(value) && value > 0) return value;
  const wanted = valid === Number.isInteger ? 'a positive whole number' : 'a positive number';
  throw new CheckpointError(
    `preprocessor_config.json: ${key} must be ${wanted}, got ${JSON.stringify(value)}`,
  );
}

function rgbTriple(value: unknown, key: string, valid: (x: number) => boolean): readonly number[] {
  if (value === undefined || value === null)
    throw new CheckpointError(`preprocessor_config.json has no ${key}`);
  if (Array.isArray(value) && value.length === 3 && value.every((x) => typeof x === 'number' && valid(x))) {
    return Object.freeze([...value]);
  }
  throw new CheckpointError(
    `preprocessor_config.json: ${key} must be three numbers (R, G, B${key === 'image_std' ? ', above 0' : ''}), ` +
      `got ${JSON.stringify(value)}`,
  );
}
