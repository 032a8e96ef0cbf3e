/** Decoded pixels, row by row, 3 bytes a pixel (RGB), 8 bits a channel. Alpha is dropped, not composited (as PIL's convert("RGB")). */
export type RgbImage = { readonly width: number; readonly height: number; readonly data: Uint8Array };

/** Raw pixels as a caller may hand them over. */
export type RawImage = {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array | Uint8ClampedArray;
};

/** Anything that can be embedded as an image: a path or URL, encoded bytes, a Blob, or raw pixels. */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | Blob | RawImage;

/** Turns encoded bytes into pixels. Each platform door has one (sharp in Node, the browser's own decoder in a page). */
export type DecodeImage = (
  bytes: Uint8Array,
  limits: { readonly maxInputPixels: number; readonly name: string },
) => Promise<RgbImage>;
