import type { Span } from '../kernels/index.ts';
import type { Adapter } from './adapters/with-adapters.ts';
import type { Settings } from './config.ts';
import { InputError } from './errors.ts';
import type { ImageProcessor, ProcessedImage } from './image/image-processor.ts';
import type { ImageInput } from './image/rgb-image.ts';
import type { EncodeOptions, MixedInput } from './options.ts';
import { imageIds, parsePromptName, promptFor, textIds } from './text/prompts.ts';
import type { TextTokenizer } from './text/tokenizer.ts';

/** One input of a call, with the adapters that it will run with: `adapter` names the `choice`. */
export type Request = {
  readonly index: number;
  readonly task: string | null;
  readonly adapter: string | null;
  readonly choice: readonly Adapter[];
} & (
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: ImageInput }
);

/** A request whose tokens are known. `span`: the rows whose mean is its single vector. */
export type Prepared = {
  readonly request: Request;
  readonly ids: Int32Array;
  readonly span: Span;
  readonly truncated: boolean;
  readonly image: ProcessedImage | null;
};

/** Text, or image? A bare string is a text; a path to an image is written `{ image: path }`. */
export function kindOf(
  input: MixedInput,
  index: number,
): { type: 'text'; text: string } | { type: 'image'; image: ImageInput } {
  if (typeof input === 'string') return { type: 'text', text: input };
  if (typeof input === 'object' && input !== null) {
    if ('text' in input && typeof input.text === 'string') return { type: 'text', text: input.text };
    if ('image' in input) return { type: 'image', image: input.image };
    return { type: 'image', image: input as ImageInput };
  }
  throw new InputError(
    `input ${index}: expected a text, { text }, { image } or image data, got ${String(input)}`,
  );
}

export function prepareText(
  request: Request & { readonly type: 'text' },
  tokenizer: TextTokenizer,
  settings: Settings,
  options: EncodeOptions,
): Prepared {
  const promptName = promptFor(request.task ?? '', parsePromptName(settings.promptName), settings.taskPrefix);
  // One token more than allowed tells whether the text was cut.
  const ids = textIds(tokenizer, request.text, {
    promptName,
    maxLength: settings.maxLength + 1,
    specialTokens: options.specialTokens,
  });
  const truncated = ids.length > settings.maxLength;
  const kept = truncated ? ids.subarray(0, settings.maxLength) : ids;
  return { request, ids: kept, span: { begin: 0, end: kept.length }, truncated, image: null };
}

export async function prepareImage(
  request: Request & { readonly type: 'image' },
  tokenizer: TextTokenizer,
  processor: ImageProcessor,
  settings: Settings,
  signal?: AbortSignal,
): Promise<Prepared> {
  const image = await processor.process(request.image, {
    index: request.index,
    maxPixels: settings.maxPixels ?? undefined,
    signal,
  });
  const ids = imageIds(tokenizer, image.tokens);
  // The vector of an image is the mean from <|vision_start|> to <|vision_end|>, both included: its tokens and one each side.
  const first = ids.indexOf(tokenizer.specialId('<|vision_start|>'));
  return { request, ids, span: { begin: first, end: first + image.tokens + 2 }, truncated: false, image };
}
