import { InputError } from '../errors.ts';
import type { TextTokenizer } from './tokenizer.ts';

export type PromptName = 'query' | 'passage';

const PREFIXES: Readonly<Record<PromptName, string>> = { query: 'Query: ', passage: 'Passage: ' };

/** The longest sequence the model is used with; the reference clips to it as well. */
export const MAX_LENGTH = 32768;

/** `query`, `passage`, or `document` (alias of `passage`) → prompt name. */
export function parsePromptName(name: string): PromptName {
  if (name === 'query' || name === 'passage') return name;
  if (name === 'document') return 'passage';
  throw new InputError(
    `unknown promptName "${name}"; use "query" or "passage" ("document" is another word for passage)`,
  );
}

/**
 * Which prefix a text gets. Text matching is symmetric, so its texts are all queries, as the publisher documents.
 * The published Python code looks at a model property instead of the call's task and then gives passages of
 * text-matching their own prefix; `taskPrefix: 'python'` reproduces that.
 */
export const promptFor = (
  task: string,
  name: PromptName,
  taskPrefix: 'documented' | 'python' = 'documented',
): PromptName => (task === 'text-matching' && taskPrefix === 'documented' ? 'query' : name);

export type TextPromptOptions = {
  readonly promptName: PromptName;
  readonly maxLength: number;
  readonly specialTokens?: boolean;
};

/** Prefix and text → ids, cut at the right end to `maxLength` tokens (the prefix counts). An empty text is its prefix. */
export function textIds(
  tokenizer: TextTokenizer,
  text: string,
  { promptName, maxLength, specialTokens }: TextPromptOptions,
): Int32Array {
  const ids = tokenizer.encode(PREFIXES[promptName] + text, { specialTokens });
  return Int32Array.from(ids.length > maxLength ? ids.slice(0, maxLength) : ids);
}

/** The fixed turn around an image, with `tokens` placeholders. No prefix: only the adapter tells tasks apart. */
export function imageIds(tokenizer: TextTokenizer, tokens: number): Int32Array {
  const [before, after] = imageFrame(tokenizer);
  const ids = new Int32Array(before.length + tokens + after.length);
  ids.set(before, 0);
  ids.fill(tokenizer.specialId('<|image_pad|>'), before.length, before.length + tokens);
  ids.set(after, before.length + tokens);
  return ids;
}

const frames = new WeakMap<TextTokenizer, readonly [readonly number[], readonly number[]]>();

function imageFrame(tokenizer: TextTokenizer): readonly [readonly number[], readonly number[]] {
  const known = frames.get(tokenizer);
  if (known) return known;
  const speak = (text: string) => tokenizer.encode(text, { specialTokens: true });
  const frame = [
    speak('<|im_start|>user\n<|vision_start|>'),
    speak('<|vision_end|>Describe the image.<|im_end|>\n'),
  ] as const;
  frames.set(tokenizer, frame);
  return frame;
}
