import { Tokenizer } from '@huggingface/tokenizers';
import { CheckpointError } from '../errors.ts';

/** Byte-level BPE of the Qwen2 family, read from the checkpoint's `tokenizer.json`. */
export interface TextTokenizer {
  /**
   * Token ids of a text. Nothing is added at either end. The strings of control tokens (`<|im_end|>`, `<|image_pad|>`, …)
   * are ordinary characters, unless `specialTokens` says that this text may speak to the model.
   */
  encode(text: string, options?: { readonly specialTokens?: boolean }): readonly number[];
  /** Id of a control token by its string; `CheckpointError` when the vocabulary has none. */
  specialId(token: string): number;
  /** Ids the tokenizer can give: all are below this. */
  readonly vocabSize: number;
}

type AddedToken = { readonly id: number; readonly content: string; readonly special: boolean };
type TokenizerJson = {
  readonly added_tokens?: readonly AddedToken[];
  readonly model?: { readonly vocab?: object };
};

/**
 * `json`, `config`: parsed `tokenizer.json` and `tokenizer_config.json`.
 * Control tokens are taken out of the library's table and put back by our own split, so that one table serves both
 * readings of a text. (The library cuts a text at its added tokens before anything else, so the two are equal.)
 */
export function createTokenizer(json: unknown, config: unknown, where = 'tokenizer.json'): TextTokenizer {
  const source = json as TokenizerJson;
  if (!source?.model?.vocab) {
    throw new CheckpointError(
      `${where}: expected a Hugging Face tokenizer with model.vocab; export a "fast" tokenizer`,
    );
  }
  const added = source.added_tokens ?? [];
  const special = new Map(added.filter((t) => t.special).map((t) => [t.content, t.id]));
  const bpe = openLibrary({ ...source, added_tokens: added.filter((t) => !t.special) }, config, where);
  const control =
    special.size > 0 ? new RegExp(`(${[...special.keys()].map(escapeRegExp).join('|')})`) : null;

  const plain = (text: string): readonly number[] =>
    // A lone surrogate has no UTF-8 form; it becomes U+FFFD, as in every UTF-8 encoder.
    text === '' ? [] : bpe.encode(wellFormed(text), { add_special_tokens: false }).ids;

  return {
    encode(text, { specialTokens = false } = {}) {
      if (!specialTokens || !control) return plain(text);
      return text.split(control).flatMap((part) => special.get(part) ?? plain(part));
    },
    specialId(token) {
      const id = special.get(token) ?? added.find((t) => t.content === token)?.id;
      if (id === undefined) throw new CheckpointError(`${where}: the control token ${token} is missing`);
      return id;
    },
    vocabSize: Math.max(Object.keys(source.model.vocab).length, ...added.map((t) => t.id + 1)),
  };
}

function openLibrary(json: object, config: unknown, where: string): Tokenizer {
  try {
    return new Tokenizer(json, (config ?? {}) as object);
  } catch (error) {
    throw new CheckpointError(`${where}: cannot be used as a tokenizer: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

const escapeRegExp = (s: string): string => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const wellFormed = (text: string): string => {
  const method = (text as { toWellFormed?: () => string }).toWellFormed;
  return method
    ? method.call(text)
    : text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD');
};
