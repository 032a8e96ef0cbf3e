import type { FileTree } from '../weights/byte-source.ts';
import type { Engine } from './device-engine.ts';
import type { DecodeImage } from './image/rgb-image.ts';

/** What a platform (Node, a page) supplies to the core. `src/platform/*` build one each; nothing else knows fs, sharp or canvas. */
export interface Door {
  readonly platform: 'node' | 'browser';
  /** Opens a checkpoint folder by path or URL; `SourceError` when it does not exist. */
  openTree(source: string | URL, signal?: AbortSignal): Promise<FileTree>;
  /** The checkpoint that ships with the package. */
  openDefault(): Promise<FileTree>;
  /** Bytes of an image named by path or URL. */
  readBytes(source: string | URL, signal?: AbortSignal): Promise<Uint8Array>;
  readonly decodeImage: DecodeImage;
  /** TF.js backends that this platform knows how to start, in order of preference. */
  readonly engines: readonly Engine[];
  /** Environment variables (empty in a page). */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Total and free memory in bytes, where the platform tells. */
  memory(): { readonly total: number; readonly free: number } | null;
}
