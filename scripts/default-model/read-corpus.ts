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

export type IconFile = IconSet & { readonly width: number; readonly height: number };
export type IconFiles = Readonly<Record<Style, IconFile>>;

type Alias = {
  readonly parent: string;
  readonly hFlip?: boolean;
  readonly vFlip?: boolean;
  readonly rotate?: number;
};

/** Iconify sets; `chars` is left out where the set has none. */
export async function readIcons(packages: PackageReader): Promise<IconFiles> {
  const files = STYLES.map(async (style) => {
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

export async function readCorpus(packages: PackageReader, sets: IconFiles): Promise<Corpus> {
  const plain = 'cldr-annotations-full/annotations';
  const derived = 'cldr-annotations-derived-full/annotationsDerived';
  const annotations = new Map<string, readonly Annotations[]>();
  const composed = new Set(await packages.folders(derived));
  for (const locale of await packages.folders(plain)) {
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
