/** Drawing styles by their Iconify prefix. The last one is never trained on: it tells whether a style nobody saw is understood. */
export const STYLES = [
  'twemoji',
  'fluent-emoji-flat',
  'emojione',
  'fluent-emoji',
  'fxemoji',
  'streamline-emojis',
  'fluent-emoji-3d',
  'fluent-emoji-high-contrast',
  'emojione-monotone',
  'noto',
] as const;
export type Style = (typeof STYLES)[number];
export const HELD_OUT_STYLE: Style = 'noto';
export const TRAINING_STYLES: readonly Style[] = STYLES.filter((s) => s !== HELD_OUT_STYLE);
/** Drawn in one colour, which is black until training gives it another: these teach shapes. */
export const MONOCHROME: ReadonlySet<Style> = new Set<Style>([
  'fluent-emoji-high-contrast',
  'emojione-monotone',
]);

export type Emoji = {
  /** Code points in hexadecimal, joined by '-', without the variation selector: '1f34e'. */
  readonly code: string;
  readonly characters: string;
  /** English short name of CLDR. */
  readonly name: string;
  readonly group: string;
  readonly subgroup: string;
  /** Name of the drawing in each style that has one. */
  readonly drawings: Readonly<Partial<Record<Style, string>>>;
  /** Index of the first emoji that is drawn exactly alike in some style (flags of dependencies); its own index otherwise. */
  readonly twin: number;
};

/** What one locale says about each emoji of the table, by index. */
export type LocaleTexts = {
  readonly locale: string;
  readonly names: readonly (string | null)[];
  /** Without the name itself. */
  readonly keywords: readonly (readonly string[])[];
};

export type Corpus = { readonly emoji: readonly Emoji[]; readonly locales: readonly LocaleTexts[] };

// ---- the sources, as their packages hold them

/** `data.json` of emojibase-data. Components (skin tones, hair) and letters of flags have no group here. */
export type EmojibaseEntry = {
  readonly emoji: string;
  readonly label: string;
  readonly group?: number;
  readonly subgroup?: number;
};
export type EmojibaseGroups = {
  readonly groups: Readonly<Record<string, string>>;
  readonly subgroups: Readonly<Record<string, string>>;
};
/** `annotations.json` of CLDR, the inner object: characters → keywords and the name that is read aloud. */
export type Annotations = Readonly<
  Record<string, { readonly default?: readonly string[]; readonly tts?: readonly string[] }>
>;
/**
 * `icons.json` and `chars.json` of an Iconify set; a set may have no `chars.json`. A drawing is the inside of an `<svg>`, or a
 * picture as a data URL.
 */
export type IconSet = {
  readonly icons: Readonly<
    Record<string, { readonly body: string; readonly width?: number; readonly height?: number }>
  >;
  readonly aliases?: Readonly<Record<string, { readonly parent: string }>>;
  readonly chars?: Readonly<Record<string, string>>;
};

export type EmojiSources = {
  readonly emoji: readonly EmojibaseEntry[];
  readonly groups: EmojibaseGroups;
  readonly sets: Readonly<Record<Style, IconSet>>;
  /** Plain and derived annotations of a locale; the plain ones win. */
  readonly annotations: ReadonlyMap<string, readonly Annotations[]>;
};

/** '🏴‍☠️' → '1f3f4-200d-2620' */
export const codeOf = (characters: string): string =>
  [...characters]
    .map((c) => c.codePointAt(0)!)
    .filter((c) => c !== VARIATION_SELECTOR)
    .map((c) => c.toString(16))
    .join('-');

const VARIATION_SELECTOR = 0xfe0f;

/** Where a name means something else in the sets of 2016 without code points (emojione's), by code; null: it has no such drawing. */
const CORRECTIONS: Readonly<Record<string, string | null>> = {
  '1f199': 'up-text-button', // its up-button points upwards
  '1f635': 'dizzy-face', // renamed by Unicode
  '1f997': null, // its cricket is the game
  '1f3cf': 'cricket',
  '1f471-200d-2642': null, // its blond-haired person was meant for all
  '1f1e8-1f1e8': 'flag-for-cocos-islands',
};
const OF_2016: ReadonlySet<Style> = new Set<Style>(['emojione', 'emojione-monotone']);
const COMPONENTS = 'component';

/** One table out of all sources, in emojibase's order (the order of CLDR's charts). Skin tones are dropped. */
export function joinEmoji(sources: EmojiSources): Corpus {
  const { groups, subgroups } = sources.groups;
  const kept = sources.emoji.filter((e) => e.group !== undefined && groups[e.group] !== COMPONENTS);
  const codes = kept.map((e) => codeOf(e.emoji));
  const byLocale = [...sources.annotations].map(
    ([locale, annotations]) => [locale, byCode(annotations)] as const,
  );
  const english = new Map(byLocale).get('en');
  const names = kept.map((e, i) => english?.get(codes[i])?.tts?.[0] ?? e.label);
  const drawings = withoutShared(findDrawings(codes, names, sources.sets), sources.sets);
  const twins = findTwins(drawings, sources.sets);
  return {
    emoji: kept.map((e, i) => ({
      code: codes[i],
      characters: e.emoji,
      name: names[i],
      group: groups[e.group!],
      subgroup: subgroups[e.subgroup!],
      drawings: drawings[i],
      twin: twins[i],
    })),
    locales: byLocale
      .map(([locale, annotations]) => localeTexts(locale, codes, annotations))
      .filter((l) => l.names.some((n) => n !== null) || l.keywords.some((k) => k.length > 0))
      .sort((a, b) => (a.locale < b.locale ? -1 : 1)),
  };
}

const byCode = (annotations: readonly Annotations[]): ReadonlyMap<string, Annotations[string]> =>
  new Map(
    [...annotations].reverse().flatMap((a) => Object.entries(a).map(([c, v]) => [codeOf(c), v] as const)),
  );

function localeTexts(
  locale: string,
  codes: readonly string[],
  annotations: ReadonlyMap<string, Annotations[string]>,
): LocaleTexts {
  const clean = (text: string) => text.normalize('NFC').trim();
  const names = codes.map(
    (code) =>
      annotations
        .get(code)
        ?.tts?.map(clean)
        .find((n) => n !== '') ?? null,
  );
  const keywords = codes.map((code, i) => {
    const all = (annotations.get(code)?.default ?? []).map(clean);
    return [...new Set(all)].filter((k) => k !== '' && k !== names[i]);
  });
  return { locale, names, keywords };
}

/**
 * A set with code points tells them; one without (emojione) is joined by the CLDR name or by any name that another set
 * gives to the same code points.
 */
function findDrawings(
  codes: readonly string[],
  names: readonly string[],
  sets: EmojiSources['sets'],
): readonly Emoji['drawings'][] {
  const byChars = STYLES.map((style) => charsByCode(sets[style]));
  const known = byChars.map((chars, s) => namesByIcon(chars, sets[STYLES[s]]));
  const squeezed = STYLES.map((style) => new Map(Object.keys(sets[style].icons).map((n) => [squeeze(n), n])));
  return codes.map((code, i) => {
    const wanted = [slug(names[i]), `flag-for-${slug(names[i])}`, ...known.flatMap((k) => k.get(code) ?? [])];
    return Object.fromEntries(
      STYLES.flatMap((style, s) => {
        const { icons, aliases, chars } = sets[style];
        const direct = byChars[s].get(code);
        const named = () =>
          wanted.find((n) => n in icons || n in (aliases ?? {})) ??
          wanted.map((n) => squeezed[s].get(squeeze(n))).find((n) => n !== undefined) ??
          wanted.map((n) => `${n}-1`).find((n) => n in icons); // the first of several drawings
        const corrected = OF_2016.has(style) && code in CORRECTIONS ? CORRECTIONS[code] : named();
        const icon = chars ? direct : corrected;
        return icon ? [[style, icon]] : [];
      }),
    );
  });
}

const charsByCode = ({ chars = {} }: IconSet): ReadonlyMap<string, string> =>
  new Map(
    Object.entries(chars).map(([hex, icon]) => [
      codeOf(String.fromCodePoint(...hex.split('-').map((h) => Number.parseInt(h, 16)))),
      icon,
    ]),
  );

/** Code → all names under which a set knows that drawing. */
function namesByIcon(
  chars: ReadonlyMap<string, string>,
  { aliases = {} }: IconSet,
): ReadonlyMap<string, readonly string[]> {
  const also = new Map<string, string[]>();
  for (const [alias, { parent }] of Object.entries(aliases)) {
    also.set(parent, [...(also.get(parent) ?? []), alias]);
  }
  return new Map([...chars].map(([code, icon]) => [code, [icon, ...(also.get(icon) ?? [])]]));
}

/** fxemoji writes names without hyphens. */
const squeeze = (name: string): string => name.replaceAll('-', '');

/** 'flag: Côte d’Ivoire' → 'flag-cote-divoire', the way Iconify names drawings. */
export const slug = (name: string): string =>
  name
    .toLowerCase()
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[’'“”.!]/g, '')
    .replace(/&/g, 'and')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

/** Without the drawings in one colour that several emoji share: a heart in black is a heart of no colour. */
function withoutShared(
  drawings: readonly Emoji['drawings'][],
  sets: EmojiSources['sets'],
): readonly Emoji['drawings'][] {
  const uses = new Map<string, number>();
  const bodies = (drawn: Emoji['drawings']) =>
    (Object.entries(drawn) as [Style, string][]).map(
      ([style, icon]) => [style, icon, MONOCHROME.has(style) ? svgBody(sets[style], icon) : null] as const,
    );
  for (const drawn of drawings)
    for (const [, , body] of bodies(drawn)) if (body) uses.set(body, (uses.get(body) ?? 0) + 1);
  return drawings.map((drawn) =>
    Object.fromEntries(
      bodies(drawn).flatMap(([style, icon, body]) => (body && uses.get(body)! > 1 ? [] : [[style, icon]])),
    ),
  );
}

/** Emoji that share a drawing in any style, also by way of a third one, get the index of the first of them. */
function findTwins(drawings: readonly Emoji['drawings'][], sets: EmojiSources['sets']): readonly number[] {
  const twins = [...drawings.keys()];
  const owner = new Map<string, number>();
  drawings.forEach((drawn, i) => {
    for (const [style, icon] of Object.entries(drawn)) {
      const body = svgBody(sets[style as Style], icon);
      const other = twins[owner.get(body) ?? i];
      const [first, later] = [Math.min(other, twins[i]), Math.max(other, twins[i])];
      owner.set(body, i);
      if (first !== later) for (let k = 0; k <= i; k++) if (twins[k] === later) twins[k] = first;
    }
  });
  return twins;
}

/** Inside of the `<svg>` of a drawing, or its data URL, under any of its names. */
export const svgBody = ({ icons, aliases }: IconSet, icon: string): string =>
  icons[aliases?.[icon]?.parent ?? icon].body;
