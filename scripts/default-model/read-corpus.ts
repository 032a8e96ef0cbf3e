import {
  type Annotations,
  type Corpus,
  type EmojibaseEntry,
  type EmojibaseGroups,
  type IconSet,
  joinEmoji,
  STYLES,
  type Style,
} from './emoji.ts';
import type { PackageReader } from './packages.ts';
import { DATA_URL } from './render.ts';

export type IconFile = IconSet & { readonly width: number; readonly height: number };
export type IconFiles = Readonly<Record<Style, IconFile>>;

type Alias = {
  readonly parent: string;
  readonly hFlip?: boolean;
  readonly vFlip?: boolean;
  readonly rotate?: number;
};

const PICTURES = { style: 'fluent-emoji-3d', folder: '@lobehub/fluent-emoji-3d/assets', side: 32 } as const;

/** Iconify sets, and one of pictures; `chars` is left out where the set has none. */
export async function readIcons(packages: PackageReader): Promise<IconFiles> {
  const files = STYLES.map(async (style) => {
    if (style === PICTURES.style) return [style, await readPictures(packages)] as const;
    const icons = await packages.json<IconFile & { aliases?: Readonly<Record<string, Alias>> }>(
      `@iconify-json/${style}/icons.json`,
    );
    const chars = await packages.json<Record<string, string>>(`@iconify-json/${style}/chars.json`);
    const aliases = Object.entries(icons.aliases ?? {}).filter(([, a]) => !(a.hFlip || a.vFlip || a.rotate));
    return [
      style,
      {
        ...icons,
        aliases: Object.fromEntries(aliases), // other names of a drawing, not turned copies of it
        chars: Object.keys(chars).length > 0 ? chars : undefined,
      },
    ] as const;
  });
  return Object.fromEntries(await Promise.all(files)) as IconFiles;
}

/** Files named by their code points, with skin tones, which no emoji of the table has. */
async function readPictures(packages: PackageReader): Promise<IconFile> {
  const files = (await packages.names(PICTURES.folder)).filter((name) => name.endsWith('.webp'));
  const codes = files.map((name) => name.slice(0, -'.webp'.length));
  const wanted = codes.filter((code) => !/-1f3f[b-f]/.test(code));
  const icons = wanted.map(async (code) => {
    const bytes = await packages.bytes(`${PICTURES.folder}/${code}.webp`);
    return [code, { body: `${DATA_URL}${bytes.toString('base64')}` }] as const;
  });
  return {
    width: PICTURES.side,
    height: PICTURES.side,
    icons: Object.fromEntries(await Promise.all(icons)),
    chars: Object.fromEntries(wanted.map((code) => [code, code])),
  };
}

export async function readCorpus(packages: PackageReader, sets: IconFiles): Promise<Corpus> {
  const plain = 'cldr-annotations-full/annotations';
  const derived = 'cldr-annotations-derived-full/annotationsDerived';
  const annotations = new Map<string, readonly Annotations[]>();
  const composed = new Set(await packages.names(derived));
  for (const locale of await packages.names(plain)) {
    const file = await packages.json<{ annotations: { annotations?: Annotations } }>(
      `${plain}/${locale}/annotations.json`,
    );
    const more = composed.has(locale)
      ? await packages.json<{ annotationsDerived: { annotations?: Annotations } }>(
          `${derived}/${locale}/annotations.json`,
        )
      : null;
    annotations.set(locale, [file.annotations.annotations ?? {}, more?.annotationsDerived.annotations ?? {}]);
  }
  return joinEmoji({
    emoji: await packages.json<EmojibaseEntry[]>('emojibase-data/en/data.json'),
    groups: await packages.json<EmojibaseGroups>('emojibase-data/meta/groups.json'),
    sets,
    annotations,
  });
}
