import { InputError } from '../errors.ts';
import type { ResampleVariant } from './bicubic-taps.ts';
import { headerSize } from './header-size.ts';
import { checkFormat, describeInput, isRawImage, rgbOfRaw, validateInput } from './image-input.ts';
import { type Patches, patchify } from './patchify.ts';
import { checkPixelCount, MAX_INPUT_PIXELS } from './pixel-limit.ts';
import type { ImageProcessorConfig } from './preprocessor-config.ts';
import { resizeBicubic } from './resample.ts';
import type { DecodeImage, ImageInput, RgbImage } from './rgb-image.ts';
import { type ImageSize, smartResize, tokenCount } from './smart-resize.ts';

/** Fetches the bytes behind a path or a URL (http, https, data, file); a platform door has one. */
export type ReadBytes = (source: string | URL, signal?: AbortSignal) => Promise<Uint8Array>;

export type ImageProcessorDoor = {
  readonly decodeImage: DecodeImage;
  readonly readBytes: ReadBytes;
  /** Images with more pixels are refused before they are decoded. Default 20,000,000. */
  readonly maxInputPixels?: number;
};

export type InputOptions = {
  /** Position in the caller's list, for error messages. */
  readonly index?: number;
  readonly signal?: AbortSignal;
};

export type ProcessOptions = InputOptions & {
  /** Area in pixels after resizing. Defaults: the checkpoint's (3136 and 602112 in the published one). */
  readonly minPixels?: number;
  readonly maxPixels?: number;
  /** Default `torchvision`: what the published model's processor uses. */
  readonly resample?: ResampleVariant;
};

export type ProcessedImage = Patches & {
  /** The original size in pixels. */
  readonly width: number;
  readonly height: number;
  /** The size at which the model sees it. */
  readonly resized: ImageSize;
  /** Image tokens in the decoder's stream: M = P / mergeSize². */
  readonly tokens: number;
};

/** From anything that names or holds an image to the patches that the vision tower reads: validate, decode, resize, patchify. */
export class ImageProcessor {
  readonly config: ImageProcessorConfig;
  readonly maxInputPixels: number;
  readonly #door: ImageProcessorDoor;

  constructor(config: ImageProcessorConfig, door: ImageProcessorDoor) {
    this.config = config;
    this.maxInputPixels = door.maxInputPixels ?? MAX_INPUT_PIXELS;
    this.#door = door;
    if (!(this.maxInputPixels >= 1)) {
      throw new InputError(
        `maxInputPixels must be at least 1, got ${this.maxInputPixels}; the default is 20,000,000`,
      );
    }
  }

  /** Sides of a resized image are multiples of this many pixels; one such square becomes one token. */
  get factor(): number {
    return this.config.patchSize * this.config.mergeSize;
  }

  /** @throws InputError for what can be told wrong without reading a file or decoding; bytes are judged by their header */
  validate(input: ImageInput, { index }: Pick<InputOptions, 'index'> = {}): void {
    const name = describeInput(input, index);
    validateInput(input, name);
    if (isRawImage(input)) checkPixelCount(input, this.maxInputPixels, name);
    else if (input instanceof Uint8Array) this.#checkHeader(input, name);
    else if (input instanceof ArrayBuffer) this.#checkHeader(new Uint8Array(input), name);
  }

  /**
   * RGB pixels at the original size.
   * @throws InputError when it is no image, broken, too large, or in a format that is not supported
   * @throws SourceError when a path or URL cannot be read
   */
  async decode(input: ImageInput, { signal, index }: InputOptions = {}): Promise<RgbImage> {
    signal?.throwIfAborted();
    this.validate(input, { index });
    if (isRawImage(input)) return rgbOfRaw(input);
    const name = describeInput(input, index);
    const bytes = await this.#bytesOf(input, signal);
    signal?.throwIfAborted();
    this.#checkHeader(bytes, name);
    const image = await this.#door.decodeImage(bytes, { maxInputPixels: this.maxInputPixels, name });
    checkPixelCount(image, this.maxInputPixels, name); // for the files whose header did not tell
    signal?.throwIfAborted();
    return image;
  }

  /**
   * Normalised patches, ready for the vision tower.
   * @throws InputError also when the aspect ratio is above 200, or `minPixels` and `maxPixels` make no sense
   */
  async process(input: ImageInput, options: ProcessOptions = {}): Promise<ProcessedImage> {
    const bounds = this.#bounds(options);
    const image = await this.decode(input, options);
    const resized = named(describeInput(input, options.index), () => smartResize(image, bounds));
    const patches = patchify(resizeBicubic(image, resized, options.resample), this.config);
    const { width, height } = image;
    return { ...patches, width, height, resized, tokens: tokenCount(resized, this.factor) };
  }

  async #bytesOf(
    input: Exclude<ImageInput, { channels: number }>,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    if (input instanceof Uint8Array) return input;
    if (input instanceof ArrayBuffer) return new Uint8Array(input);
    if (input instanceof Blob) return new Uint8Array(await input.arrayBuffer());
    return this.#door.readBytes(input, signal);
  }

  #checkHeader(bytes: Uint8Array, name: string): void {
    const size = headerSize(bytes, checkFormat(bytes, name));
    if (size) checkPixelCount(size, this.maxInputPixels, name);
  }

  #bounds({
    minPixels = this.config.minPixels,
    maxPixels = this.config.maxPixels,
    resample,
  }: ProcessOptions) {
    const { factor } = this;
    if (!Number.isFinite(maxPixels) || maxPixels < factor * factor) {
      throw new InputError(
        `maxPixels ${maxPixels} is not possible; give a number of at least ${factor * factor} (${factor} × ${factor} pixels, one token)`,
      );
    }
    if (!(minPixels >= 0 && minPixels <= maxPixels)) {
      throw new InputError(
        `minPixels ${minPixels} must lie between 0 and maxPixels ${maxPixels}; where maxPixels is that small, lower minPixels too`,
      );
    }
    if (resample !== undefined && resample !== 'torchvision' && resample !== 'pillow') {
      throw new InputError(
        `resample must be 'torchvision' (default) or 'pillow', got ${JSON.stringify(resample)}`,
      );
    }
    return { factor, minPixels, maxPixels };
  }
}

/** Says which image an error is about. */
function named<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${name}: ${error.message}`);
    throw error;
  }
}
