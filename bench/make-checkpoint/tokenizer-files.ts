import { CheckpointError } from '../../src/errors.ts';

// The 22 added tokens of Qwen2.5-VL, in the order of their ids. Those in the second list are ordinary words to a decoder that
// skips special tokens.   (tokenizer.json of the family: added_tokens)
const SPECIAL = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|object_ref_start|>',
  '<|object_ref_end|>',
  '<|box_start|>',
  '<|box_end|>',
  '<|quad_start|>',
  '<|quad_end|>',
  '<|vision_start|>',
  '<|vision_end|>',
  '<|vision_pad|>',
  '<|image_pad|>',
  '<|video_pad|>',
];
const ADDED = [
  '<tool_call>',
  '</tool_call>',
  '<|fim_prefix|>',
  '<|fim_middle|>',
  '<|fim_suffix|>',
  '<|fim_pad|>',
  '<|repo_name|>',
  '<|file_sep|>',
];

const SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/**
 * `tokenizer.json` of the Qwen2 kind with the 256 bytes for a vocabulary and no merges: every text works, one token a byte,
 * and the file is ours. Ids are the family's own where it has them (bytes 0 … 255); the control tokens follow.
 */
export function byteLevelTokenizer(): Record<string, unknown> {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...SPECIAL, ...ADDED].map((content, i) => ({
      id: 256 + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: i < SPECIAL.length,
    })),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: SPLIT }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(byteSymbols().map((symbol, id) => [symbol, id])),
      merges: [],
    },
  };
}

/**
 * The printable stand-ins of the 256 bytes, in the order of GPT-2's and Qwen's ids: first the bytes that are printable
 * Latin-1 characters, as themselves, then the others, moved to U+0100 and on.   (openai/gpt-2: encoder.py, bytes_to_unicode)
 */
function byteSymbols(): readonly string[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  const hidden = bytes.filter((b) => !printable(b));
  return [...bytes.filter(printable), ...hidden.map((_, i) => 256 + i)].map((code) =>
    String.fromCharCode(code),
  );
}

export const tokenizerConfig = (): Record<string, unknown> => ({
  tokenizer_class: 'PreTrainedTokenizerFast',
  add_prefix_space: false,
  bos_token: null,
  eos_token: '<|im_end|>',
  pad_token: '<|endoftext|>',
  unk_token: null,
  model_max_length: 131072,
  clean_up_tokenization_spaces: false,
  split_special_tokens: false,
});

/** What `config.json` says about a tokenizer: the ids of its control tokens. */
const CONFIG_IDS = {
  bos_token_id: '<|endoftext|>',
  eos_token_id: '<|im_end|>',
  vision_start_token_id: '<|vision_start|>',
  vision_end_token_id: '<|vision_end|>',
  vision_token_id: '<|vision_pad|>',
  image_token_id: '<|image_pad|>',
  video_token_id: '<|video_pad|>',
} as const;

export type TokenizerFacts = {
  /** Entries of config.json. */
  readonly ids: Readonly<Record<string, number>>;
  /** All ids are below this. */
  readonly size: number;
};

/** Ids and size of a tokenizer that is to be written. `CheckpointError` when it lacks a control token of the model. */
export function tokenizerFacts(json: unknown, where: string): TokenizerFacts {
  const { added_tokens = [], model } = json as {
    added_tokens?: readonly { id: number; content: string }[];
    model?: { vocab?: Readonly<Record<string, number>> };
  };
  const vocab = model?.vocab ?? {};
  const ids = Object.entries(CONFIG_IDS).map(([key, token]) => {
    const id = added_tokens.find((t) => t.content === token)?.id ?? vocab[token];
    if (id === undefined) {
      throw new CheckpointError(
        `${where}: the control token ${token} is missing; use a tokenizer of Qwen2-VL`,
      );
    }
    return [key, id] as const;
  });
  const size = Math.max(Object.keys(vocab).length, ...added_tokens.map((t) => t.id + 1));
  return { ids: Object.fromEntries(ids), size };
}
