import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { WAYS } from '../kernels/product-settings.ts';
import { cellTable } from '../src/cli/cell-table.ts';
import { trimBufferPool } from '../src/device-webgpu.ts';
import { busyCores, printLine, startBackend, timesOf } from './measure.ts';
import {
  type Product,
  productsOf,
  sumOfWays,
  timeAttention,
  timeWays,
  type WayTimes,
} from './variant-cases.ts';

// node --import tsx bench/variants.bench.ts
// The products of a published decoder block on WebGPU, in every way that the device has for them: what
// kernels/linear/variant-choice.ts is to choose. With --ort FOLDER also beside onnxruntime-node's WebGPU on the same adapter.

const flags = new Command('variants.bench')
  .option('--rows <list>', 'rows of x', '1,20,64,512')
  .option('--runs <n>', 'timed runs of a case', Number, 5)
  .option('--only <word>', 'products whose name contains this; attention: only that')
  .option(
    '--ort <folder>',
    'onnxruntime-node: times the seven products of the block in its WebGPU provider, too',
  )
  .parse()
  .opts<{ rows: string; runs: number; only?: string; ort?: string }>();

const PRODUCTS = productsOf(2048, 256, 11008);

const where = await startBackend('webgpu');
const table: (string | number | null)[][] = [];
for (const rows of flags.rows.split(',').map(Number)) await benchRows(rows);
console.log(`\n${where.engine}\nGFLOP/s; * is what is chosen\n`);
console.log(cellTable({ columns: ['product', ...WAYS], rows: table }));
process.exit(0);

async function benchRows(rows: number): Promise<void> {
  const busy = await busyCores();
  const measured: (readonly [Product, readonly WayTimes[]])[] = [];
  const ort: number[] = [];
  for (const product of PRODUCTS) {
    const { inSize, outSize } = product;
    const name = `${rows}×${inSize}×${outSize}`;
    if (flags.only && !name.includes(flags.only)) continue;
    const times = await timeWays(rows, product, flags.runs);
    measured.push([product, times]);
    trimBufferPool();
    if (flags.ort) ort.push(ortMs(flags.ort, rows));
    for (const { way, ...rest } of times) {
      printLine({ bench: 'variants', case: name, way, ...rest, busyCores: busy }, where);
    }
    table.push([
      name,
      ...WAYS.map((way) => {
        const found = times.find((t) => t.way === way);
        return found ? `${found.gflops.toPrecision(3)}${found.chosen.length > 0 ? ' *' : ''}` : null;
      }),
    ]);
  }
  if (!flags.only || flags.only === 'attention') {
    const { name, error, plain, subgroups } = await timeAttention(rows, flags.runs);
    const ratio = plain.ms / subgroups.ms;
    const line = { case: name, plainMs: plain.ms, subgroupsMs: subgroups.ms, ratio, error, busyCores: busy };
    printLine({ bench: 'variants', ...line }, where);
  }
  if (flags.only) return; // a part is no block
  const ortWebgpuMs = flags.ort ? timesOf(ort).ms : null;
  for (const { way, ms, gflops } of sumOfWays(rows, measured)) {
    const ratio = ortWebgpuMs === null ? {} : { ortWebgpuMs, ratioToOrt: ortWebgpuMs / ms };
    const line = { case: `7 products of a block, ${rows} rows`, way, ms, gflops, ...ratio, busyCores: busy };
    printLine({ bench: 'variants', ...line }, where);
  }
}

/** Another process between ours: its products, float32, are those of the whole block. */
function ortMs(folder: string, rows: number): number {
  const script = fileURLToPath(new URL('reference/ort-products.mjs', import.meta.url));
  const args = ['--ort', folder, '--tokens', rows, '--provider', 'webgpu', '--runs', 3].map(String);
  const text = execFileSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(text).ms as number;
}
