import { Command } from 'commander';
import type { JinaEmbeddings } from '../platform/node.ts';
import type { Peaks } from '../profile/peaks.ts';
import type { Profile } from '../profile/profile-run.ts';
import { duration } from './amounts.ts';
import { cellTable } from './cell-table.ts';
import { callOptions, openModel, settingsOf } from './open-model.ts';
import { notEmpty, wholeNumber } from './option-values.ts';
import { addRunOptions, type ModelOptions, modelOption, withExamples } from './options.ts';
import { pixels } from './plan-options.ts';
import { action, type Session } from './session.ts';

type ProfileOptions = ModelOptions & {
  readonly tokens?: number;
  readonly image?: readonly [width: number, height: number];
};

const DEFAULT_TOKENS = 64;

export function profileCommand(signal: AbortSignal): Command {
  const command = new Command('profile')
    .description('where the time of a forward pass goes, op by op, beside what the device can do')
    .addOption(modelOption())
    .option(
      '-t, --task <name>',
      "adapter to run with; none: the backbone alone (default: the checkpoint's first)",
      notEmpty,
    )
    .option(
      '--tokens <n>',
      `one text of so many tokens (default: ${DEFAULT_TOKENS}, without --image)`,
      wholeNumber,
    )
    .option('--image <width>x<height>', 'one picture of this size', pixels);
  addRunOptions(command).action(action<ProfileOptions>(signal, profile));
  return withExamples(
    command,
    'jina-embeddings profile --tokens 512',
    'jina-embeddings profile --device webgpu --image 896x644 --json',
  );
}

async function profile(options: ProfileOptions, session: Session): Promise<void> {
  const { terminal, signal } = session;
  const settings = await settingsOf(options);
  using model = await openModel(options, settings, session);
  const { measurePeaks } = await import('../profile/peaks.ts');
  const { profileRun } = await import('../profile/profile-run.ts');
  const passes: { input: string; tokens: number; profile: Profile }[] = [];
  for (const { input, embed } of inputsOf(model, options, session)) {
    signal.throwIfAborted();
    const embedding = await embed(); // compiles
    passes.push({ input, tokens: model.detailsOf(embedding)?.tokens ?? 0, profile: await profileRun(embed) });
  }
  signal.throwIfAborted();
  const peaks = await measurePeaks();
  if (options.json) {
    const { backend, residence, reason } = model.device;
    const results = passes.map(({ profile, ...pass }) => ({ ...pass, ...profile }));
    await terminal.print(
      `${JSON.stringify({ model: model.name, backend, residence, engine: reason, peaks, passes: results })}\n`,
    );
  } else {
    const tables = passes.map(
      ({ input, tokens, profile }) =>
        `${terminal.style.bold(`${input}, ${tokens} tokens: ${duration(profile.wallMs / 1000)}, by ${profile.clock}`)}\n` +
        profileTable(profile, peaks, terminal),
    );
    await terminal.print(`${tables.join('\n')}\n${peaksLine(peaks)}\n`);
  }
  terminal.note(`profiled on ${model.device.reason}`);
}

type Pass = { readonly input: string; readonly embed: () => Promise<Float32Array> };

function inputsOf(model: JinaEmbeddings, options: ProfileOptions, session: Session): readonly Pass[] {
  const { tokens = options.image ? undefined : DEFAULT_TOKENS, image } = options;
  const call = { ...callOptions(options, session), returnMultivector: false, precision: 'float32' } as const;
  const passes: Pass[] = [];
  if (tokens !== undefined) {
    const text = 'a '.repeat(tokens); // a token each, and the prefix besides: cut to length
    passes.push({ input: 'a text', embed: () => model.encodeText(text, { ...call, maxLength: tokens }) });
  }
  if (image !== undefined) {
    const [width, height] = image;
    const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 31) % 251);
    const raw = { width, height, channels: 3, data } as const;
    passes.push({
      input: `a picture of ${width} × ${height}`,
      embed: () => model.encodeImage(raw, { ...call, maxPixels: width * height }),
    });
  }
  return passes;
}

function profileTable({ rows }: Profile, peaks: Peaks, { columns, style }: Session['terminal']): string {
  return cellTable(
    {
      columns: ['op', 'calls', 'ms', 'share %', 'GFLOP/s', '% of product', 'GB/s', '% of copy'],
      rows: rows.map(({ op, calls, ms, share, gflops, gbPerSecond }) => [
        op,
        calls || null,
        ms,
        100 * share,
        gflops,
        gflops === null ? null : (100 * gflops) / peaks.gflops,
        gbPerSecond,
        gbPerSecond === null ? null : (100 * gbPerSecond) / peaks.gbPerSecond,
      ]),
    },
    { width: columns, heading: style.bold },
  );
}

const peaksLine = ({ gflops, side, by, gbPerSecond }: Peaks): string =>
  `Yardsticks of this run: a product of ${side} × ${side} float32 reaches ${gflops.toFixed(1)} GFLOP/s (${by}), ` +
  `a copy ${gbPerSecond.toFixed(1)} GB/s.`;
