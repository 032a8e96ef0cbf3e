import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { decodeInBrowser } from '../../src/platform/browser-image.ts';
import { decodeWithSharp } from '../../src/platform/node-image.ts';

/** What the bundle puts on the page. */
declare const pageDecoder: { readonly decodeInBrowser: typeof decodeInBrowser };

const executablePath = '/usr/bin/chromium';
const found = existsSync(executablePath);
if (!found) console.warn(`SKIPPED: the browser image decoder is not tested, there is no ${executablePath}`);

const root = new URL('../../', import.meta.url);
const fixtures = JSON.parse(readFileSync(new URL('src/platform/node-image.fixtures.json', root), 'utf8')) as {
  files: Record<string, { file: string }>;
};
const limits = { maxInputPixels: 20_000_000, name: 'picture' };

describe.skipIf(!found)('images in Chromium', () => {
  let server: Server;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    const bundle = await build({
      entryPoints: [fileURLToPath(new URL('src/platform/browser-image.ts', root))],
      bundle: true,
      format: 'iife',
      globalName: 'pageDecoder',
      write: false,
    });
    const script = bundle.outputFiles[0].text;
    server = createServer((request, response) => {
      const isScript = request.url === '/decoder.js';
      response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
      response.end(isScript ? script : '<!doctype html><script src="/decoder.js"></script>');
    });
    await new Promise<void>((ready) => server.listen(0, 'localhost', ready));
    browser = await chromium.launch({ executablePath, headless: true, args: ['--no-sandbox'] });
    page = await browser.newPage();
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  /** Bytes travel as base64: a JSON list of numbers takes seconds for an image. */
  async function decodeInPage(bytes: Uint8Array, maxInputPixels = limits.maxInputPixels) {
    const answer = await page.evaluate(
      async ({ base64, maxInputPixels }) => {
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        try {
          const image = await pageDecoder.decodeInBrowser(bytes, { maxInputPixels, name: 'picture' });
          let text = '';
          for (let i = 0; i < image.data.length; i += 8192) {
            text += String.fromCharCode(...image.data.subarray(i, i + 8192));
          }
          return { width: image.width, height: image.height, base64: btoa(text) };
        } catch (error) {
          return { error: String(error) };
        }
      },
      { base64: Buffer.from(bytes).toString('base64'), maxInputPixels },
    );
    if ('error' in answer) throw new Error(answer.error);
    const { width, height } = answer;
    return { width, height, data: new Uint8Array(Buffer.from(answer.base64, 'base64')) };
  }

  async function expectSameAsNode(bytes: Uint8Array): Promise<void> {
    const here = await decodeWithSharp(bytes, limits);
    const there = await decodeInPage(bytes);
    expect([there.width, there.height, there.data.length]).toEqual([
      here.width,
      here.height,
      here.data.length,
    ]);
    const wrong = here.data.findIndex((value, i) => value !== there.data[i]);
    expect(wrong, `byte ${wrong}: Node ${here.data[wrong]}, page ${there.data[wrong]}`).toBe(-1);
  }

  test.each(['square', 'landscape', 'tall', 'small', 'odd', 'large'])('golden image %s', async (name) => {
    await expectSameAsNode(new Uint8Array(await readFile(new URL(`test/golden/images/${name}.png`, root))));
  });

  test('every alpha with every colour, alpha 0 included', async () => {
    const rgba = new Uint8Array(256 * 256 * 4);
    for (let i = 0; i < 65536; i++) rgba.set([i & 255, (i * 7) & 255, (i * 31) >> 3, i >> 8], i * 4);
    const image = sharp(rgba, { raw: { width: 256, height: 256, channels: 4 } });
    const png = await image.png().toBuffer();
    const expected = rgba.filter((_, i) => i % 4 !== 3);
    expect((await decodeInPage(png)).data).toEqual(expected);
    await expectSameAsNode(png);
    await expectSameAsNode(await image.webp({ lossless: true, exact: true }).toBuffer());
  });

  const kinds = Object.entries(fixtures.files).filter(([name]) => !name.endsWith('.tif'));
  test.each(kinds)('%s', async (_, { file }) => {
    await expectSameAsNode(new Uint8Array(Buffer.from(file, 'base64')));
  });

  test.each(['png', 'jpeg', 'webp'] as const)('%s with a colour profile', async (format) => {
    const pixels = new Uint8Array(32 * 24 * 3).map((_, i) => (i * 53) % 256);
    const image = sharp(pixels, { raw: { width: 32, height: 24, channels: 3 } });
    await expectSameAsNode(await image.withIccProfile('p3').toFormat(format).toBuffer());
  });

  test('the first frame of an animation', async () => {
    const frames = await Promise.all(
      ['#d02010', '#1020d0'].map((background) =>
        sharp({ create: { width: 8, height: 6, channels: 3, background } })
          .png()
          .toBuffer(),
      ),
    );
    for (const format of ['gif', 'webp'] as const) {
      await expectSameAsNode(
        await sharp(frames, { join: { animated: true } })
          .toFormat(format, { lossless: true })
          .toBuffer(),
      );
    }
  });

  test('AVIF without subsampling is within a step of Node', async () => {
    const pixels = new Uint8Array(32 * 24 * 3).map((_, i) => (i * 3) % 256);
    const image = sharp(pixels, { raw: { width: 32, height: 24, channels: 3 } });
    const bytes = await image.avif({ quality: 90, chromaSubsampling: '4:4:4' }).toBuffer();
    const here = await decodeWithSharp(bytes, limits);
    const there = await decodeInPage(bytes);
    const furthest = here.data.reduce((most, value, i) => Math.max(most, Math.abs(value - there.data[i])), 0);
    expect(furthest).toBeLessThanOrEqual(1);
  });

  test('a browser without ImageDecoder decodes opaque images exactly, on the canvas', async () => {
    await page.evaluate(() => Reflect.deleteProperty(globalThis, 'ImageDecoder'));
    try {
      for (const name of [
        'rgb.png',
        'palette.png',
        'rgb16.png',
        'lossy.webp',
        'palette.gif',
        'turned.jpg',
        'turned.webp',
      ]) {
        await expectSameAsNode(new Uint8Array(Buffer.from(fixtures.files[name].file, 'base64')));
      }
      await expect(decodeInPage(Buffer.from(fixtures.files['rgb.tif'].file, 'base64'))).rejects.toThrow(
        'no decoder for TIFF',
      );
    } finally {
      await page.reload();
    }
  });

  test('TIFF says that the browser has no decoder', async () => {
    await expect(decodeInPage(Buffer.from(fixtures.files['rgb.tif'].file, 'base64'))).rejects.toThrow(
      'InputError: picture: this browser has no decoder for TIFF; convert the image to PNG',
    );
  });

  test.each(['png', 'jpeg', 'webp', 'avif', 'gif'] as const)(
    '%s cut off is an InputError',
    async (format) => {
      const noise = new Uint8Array(64 * 48 * 3).map((_, i) => Math.imul(i, 2654435761) >>> 24);
      const whole = await sharp(noise, { raw: { width: 64, height: 48, channels: 3 } })
        .toFormat(format)
        .toBuffer();
      for (const part of [0.1, 0.5, 0.9]) {
        await expect(decodeInPage(whole.subarray(0, Math.ceil(whole.length * part)))).rejects.toThrow(
          /^InputError: picture: the image is broken or cut off \(.+\); fetch or export it again/,
        );
      }
    },
  );

  test('too many pixels are refused from the header', async () => {
    await expect(decodeInPage(Buffer.from(fixtures.files['rgb.png'].file, 'base64'), 139)).rejects.toThrow(
      'InputError: picture: 14 × 10 = 140 pixels, above the limit of 139',
    );
  });

  test('a worker decodes as the page does', async () => {
    const first = await page.evaluate(async (base64) => {
      const script = await (await fetch('/decoder.js')).text();
      const body = `${script}; onmessage = async ({ data }) => {
        const image = await pageDecoder.decodeInBrowser(data, { maxInputPixels: 2e7, name: 'picture' });
        postMessage([image.width, image.height, ...image.data.subarray(0, 3)]);
      };`;
      const worker = new Worker(URL.createObjectURL(new Blob([body])));
      const answer = new Promise<number[]>((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
      worker.postMessage(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
      return answer.finally(() => worker.terminate());
    }, fixtures.files['rgba.png'].file);
    const here = await decodeWithSharp(Buffer.from(fixtures.files['rgba.png'].file, 'base64'), limits);
    expect(first).toEqual([here.width, here.height, ...here.data.subarray(0, 3)]);
  });
});
