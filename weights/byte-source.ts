/** Bytes that are read by ranges. Nothing above this line knows whether they lie in a file, in memory or behind HTTP. */
export interface ByteSource {
  /** What error messages call it: a path or a URL. */
  readonly name: string;
  /** Total bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`, the caller's own copy, or a `SourceError` that names the source and the range. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** The same into memory that is already there, where a source can do without a copy. Fills all of `target`. */
  readInto?(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** A folder of files: a directory, a URL prefix, or a map in memory. */
export interface FileTree {
  /** What error messages call it. */
  readonly name: string;
  /** The file at this relative path (`/` separated), or `null` when there is none. */
  open(path: string, signal?: AbortSignal): Promise<ByteSource | null>;
  /**
   * Every file below `folder` (default: the whole tree) at any depth, as paths that `open` takes, sorted; empty when there is
   * no such folder. `null` where a tree cannot be listed (HTTP).
   */
  list(folder?: string): Promise<readonly string[] | null>;
  /** Closes every source that it opened and that is still open. `open` then opens again. */
  close(): Promise<void>;
}
