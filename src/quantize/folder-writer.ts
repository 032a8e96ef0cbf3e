/** A folder that is written to; whoever made it decides when it appears under its name. */
export interface FolderWriter {
  /** Fails when the disk has no room for so many bytes. */
  reserve(bytes: number): Promise<void>;
  create(path: string): Promise<FileWriter>;
}

export interface FileWriter {
  append(bytes: Uint8Array): Promise<void>;
  /** Replaces bytes that were appended before. */
  rewrite(bytes: Uint8Array, position: number): Promise<void>;
  /** Everything is on the disk when it resolves. */
  close(): Promise<void>;
}
