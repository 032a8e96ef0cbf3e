import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ModelConfig } from '../../src/model-config.ts';
import type { Yardstick } from './table.ts';

/** Inputs that are alike, as bench/reference/yardstick.py makes them. Tokens: of one, for an image those around it too. Rows, columns: its patches. */
export type YardstickCase = Pick<Yardstick, 'case' | 'unit'> &
  (
    | { readonly texts: number; readonly tokens: number }
    | { readonly images: number; readonly tokens: number; readonly rows: number; readonly columns: number }
  );

export type Yardsticks = { readonly engine: string; readonly found: readonly Yardstick[] };

/**
 * Times the cases in PyTorch, in a process of its own, on CUDA where PyTorch finds one.
 *
 * @throws Error when that process ends with another code than 0; what it said is on stderr
 */
export function askPytorch(
  python: string,
  { config, rank }: { readonly config: ModelConfig; readonly rank: number },
  cases: readonly YardstickCase[],
  seconds: number,
): Yardsticks {
  const script = fileURLToPath(new URL('../reference/yardstick.py', import.meta.url));
  const geometry = JSON.stringify(geometryOf(config, rank));
  const asked = ['--geometry', geometry, '--cases', JSON.stringify(cases), '--seconds', String(seconds)];
  const { status, stdout, error } = spawnSync(python, [script, ...asked], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (error || status !== 0)
    throw new Error(
      `${python} could not time PyTorch (${error?.message ?? `exit code ${status}`}); --python wants a Python that has torch`,
    );
  const [{ engine }, ...found] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return { engine, found };
}

/** The words of bench/reference/weights.py. */
function geometryOf({ decoder, vision }: ModelConfig, rank: number) {
  return {
    hidden: decoder.hiddenSize,
    layers: decoder.numHiddenLayers,
    heads: decoder.numAttentionHeads,
    kvHeads: decoder.numKeyValueHeads,
    mlp: decoder.intermediateSize,
    vocab: decoder.vocabSize,
    theta: decoder.ropeTheta,
    rank,
    vision: {
      depth: vision.depth,
      hidden: vision.hiddenSize,
      mlp: vision.intermediateSize,
      heads: vision.numHeads,
      fullatt: vision.fullattBlockIndexes,
    },
  };
}
