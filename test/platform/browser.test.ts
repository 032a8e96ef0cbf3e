import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import { expectClose } from '../support/close.ts';
import { GOLDEN, goldenIndex } from '../support/golden.ts';
import type { Answer, Job } from './page/job.ts';
import type { PageJobs } from './page/page.ts';
import { type PageServer, servePage } from './page/serve.ts';

/** What the bundle puts on the page. */
declare const jobs: PageJobs;

const executablePath = '/usr/bin/chromium';
const found = existsSync(executablePath);
if (!found) console.warn(`SKIPPED: the browser door is not tested, there is no ${executablePath}`);

const ALLOWED = 1e-5; // of the largest value of a vector
const { texts } = goldenIndex;
const IMAGES = ['square', 'landscape', 'tall', 'small', 'odd', 'large'];
// Chromium offers only its software adapter here, and that only when asked to.
const args = ['--no-sandbox', '--enable-unsafe-webgpu'];

describe.skipIf(!found)('the browser door, in Chromium', () => {
  let server: PageServer;
  let browser: Browser;
  let expected: { texts: Float32Array[]; images: Float32Array[]; multi: number[] };

  beforeAll(async () => {
    server = await servePage();
    browser = await chromium.launch({ executablePath, headless: true, args });
    using node = await JinaEmbeddings.load(GOLDEN, { device: 'wasm' });
    expected = {
      texts: await node.encodeText(texts),
      images: await node.encodeImage(IMAGES.map((name) => `${GOLDEN}images/${name}.png`)),
      multi: (await node.encodeText(texts[0], { returnMultivector: true })).flatMap((row) => [...row]),
    };
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  /** A job on a page of its own: TF.js and its backends live as long as the page. */
  async function onPage<T>(run: (page: Page) => Promise<T>, path = '/'): Promise<T> {
    const context: BrowserContext = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(`${server.url}${path}`);
      return await run(page);
    } finally {
      await context.close();
    }
  }

  const job = (device: Job['device'], images: readonly string[], more: Partial<Job> = {}): Job => ({
    source: `${server.url}/golden`,
    wasmPath: '/wasm',
    device,
    texts,
    images: images.map((name) => `${server.url}/golden/images/${name}.png`),
    ...more,
  });

  const here = (page: Page, given: Job): Promise<Answer> => page.evaluate((j) => jobs.here(j), given);

  /** Vectors as in Node, no tensor left behind by a call, none at all after dispose. Prints what was measured. */
  function expectSameAsNode(answer: Answer, images: readonly string[], what: string): void {
    const errors = [
      ...texts.map((_, i) => closeTo(answer.texts[i], expected.texts[i], `${what}, text ${i}`)),
      ...images.map((name, i) =>
        closeTo(answer.images[i], expected.images[IMAGES.indexOf(name)], `${what}, image ${name}`),
      ),
      closeTo(answer.multi, expected.multi, `${what}, multi-vector`),
    ];
    const { load, encode } = answer.milliseconds;
    console.log(
      `${what}: worst error ${Math.max(...errors).toExponential(2)} of the largest value, ` +
        `loaded in ${load} ms, encoded in ${encode} ms (${answer.reason})`,
    );
    const [loaded] = answer.tensors;
    expect(loaded).toBeGreaterThan(0);
    expect(answer.tensors).toEqual([loaded, loaded, loaded, 0]);
    expect(answer.gpuErrors).toEqual([]);
  }

  const closeTo = (there: readonly number[], here: ArrayLike<number>, what: string): number =>
    expectClose(there, here, { relativeToMax: ALLOWED, what });

  test.each([1, 2])('wasm with %i thread(s)', async (threads) => {
    const answer = await onPage(async (page) => {
      const cores = await page.evaluate(() => navigator.hardwareConcurrency);
      const result = await here(page, job('wasm', IMAGES, { threads }));
      expect(result.cores).toBe(cores); // shown another number while the backend started, and restored
      return result;
    });
    expect(answer.threads).toBe(threads);
    expectSameAsNode(answer, IMAGES, `page, wasm, ${threads} thread(s)`);
  });

  test('a page that is not isolated computes with one thread, and says what more would need', async () => {
    const answer = await onPage((page) => here(page, job('auto', ['small'], { threads: 2 })), '/open');
    expect(answer.threads).toBe(1);
    expect(answer.reason).toMatch(/^wasm: .*1 thread; more need .*Cross-Origin-Opener-Policy/);
    expectSameAsNode(answer, ['small'], 'page without isolation, chosen automatically');
  });

  test('webgpu on the software adapter, asked for by name', async () => {
    const images = ['small', 'odd'];
    const answer = await onPage((page) => here(page, job('webgpu', images)));
    expect(answer.reason).toMatch(/^webgpu: asked for by name .*swiftshader.* emulated on the CPU/);
    expectSameAsNode(answer, images, 'page, webgpu');
  });

  test.each(['wasm', 'webgpu'] as const)('a worker, on %s', async (device) => {
    const given = job(device, ['small']);
    const answer = await onPage((page) => page.evaluate((j) => jobs.inWorker(j), given));
    expectSameAsNode(answer, ['small'], `worker, ${device}`);
  });

  test('a server without ranges gives the small checkpoint whole', async () => {
    const answer = await onPage((page) =>
      here(page, job('wasm', [], { threads: 1, source: `${server.url}/whole` })),
    );
    expectSameAsNode(answer, [], 'page, server without ranges');
    expect(server.asked.filter((path) => path.startsWith('/whole/model-'))).toHaveLength(2);
  });

  test.each([
    [
      'CheckpointError',
      'a checkpoint that is not there',
      { source: 'nowhere/model' },
      /\/nowhere\/model.*config\.json/,
    ],
    [
      'DeviceError',
      'wasm files that are not there',
      { wasmPath: '/elsewhere' },
      /\/elsewhere\/.*404.*wasmPath/,
    ],
  ] as const)('%s for %s', async (name, _, more, text) => {
    const given = job('wasm', [], { threads: 1, ...more });
    const message = await onPage((page) => page.evaluate((j) => jobs.here(j).then(String, String), given));
    expect(message).toMatch(new RegExp(`^${name}: `));
    expect(message).toMatch(text);
  });
});
