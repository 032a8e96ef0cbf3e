import { expect, test } from 'vitest';
import { type Annotations, codeOf, type EmojiSources, joinEmoji, slug } from './emoji.ts';

const icon = (body: string) => ({ body });
const empty = { icons: {}, chars: { '0': 'nothing' } };

const sources: EmojiSources = {
  emoji: [
    { emoji: '🍎', label: 'red apple', group: 0, subgroup: 0 },
    { emoji: '🏴‍☠️', label: 'pirate flag', group: 1, subgroup: 1 },
    { emoji: '🇳🇴', label: 'flag: Norway', group: 1, subgroup: 1 },
    { emoji: '🇧🇻', label: 'flag: Bouvet Island', group: 1, subgroup: 1 },
    { emoji: '🇸🇯', label: 'flag: Svalbard', group: 1, subgroup: 1 },
    { emoji: '🏻', label: 'light skin tone', group: 2, subgroup: 2 },
    { emoji: '🇳', label: 'letter N' },
  ],
  groups: {
    groups: { 0: 'food-drink', 1: 'flags', 2: 'component' },
    subgroups: { 0: 'fruit', 1: 'flag', 2: 'skin-tone' },
  },
  sets: {
    twemoji: {
      icons: { 'red-apple': icon('a'), norway: icon('n'), bouvet: icon('b'), svalbard: icon('n') },
      aliases: { 'an-apple': { parent: 'red-apple' } },
      chars: {
        '1f34e': 'red-apple',
        '1f1f3-1f1f4': 'norway',
        '1f1e7-1f1fb': 'bouvet',
        '1f1f8-1f1ef': 'svalbard',
      },
    },
    'fluent-emoji-flat': {
      icons: { bouvet: icon('x'), svalbard: icon('x') },
      chars: { '1f1e7-1f1fb': 'bouvet', '1f1f8-1f1ef': 'svalbard' },
    },
    emojione: {
      icons: { 'an-apple': icon('e'), 'flag-for-norway': icon('o'), 'flag-for-flag-norway': icon('p') },
    },
    'fluent-emoji': empty,
    fxemoji: { icons: { redapple: icon('f') } },
    'streamline-emojis': { icons: { 'red-apple-1': icon('s'), 'red-apple-2': icon('t') } },
    'fluent-emoji-3d': empty,
    'fluent-emoji-high-contrast': {
      icons: { red: icon('m'), bouvet: icon('k'), norway: icon('k') },
      chars: { '1f34e': 'red', '1f1f3-1f1f4': 'norway', '1f1e7-1f1fb': 'bouvet' },
    },
    'emojione-monotone': { icons: {} },
    noto: empty,
  },
  annotations: new Map<string, readonly Annotations[]>([
    ['de', [{ '🍎': { default: ['Apfel', 'roter Apfel', 'Apfel'], tts: ['roter Apfel'] } }]],
    [
      'en',
      [
        { '🏴‍☠': { default: ['pirate'], tts: ['pirate flag'] } },
        { '🏴‍☠️': { tts: ['not this one'] }, '🍎': { tts: ['red  apple '] } },
      ],
    ],
    ['xx', [{ '🏻': { tts: ['pale'] } }]],
  ]),
};

test('components and letters are dropped; locales that say nothing about the rest too', () => {
  const { emoji, locales } = joinEmoji(sources);
  expect(emoji.map((e) => e.code)).toEqual([
    '1f34e',
    '1f3f4-200d-2620',
    '1f1f3-1f1f4',
    '1f1e7-1f1fb',
    '1f1f8-1f1ef',
  ]);
  expect(emoji[0]).toMatchObject({ group: 'food-drink', subgroup: 'fruit' });
  expect(locales.map((l) => l.locale)).toEqual(['de', 'en']);
});

test('a name is no keyword, keywords come once, and plain annotations win over derived ones', () => {
  const [de, en] = joinEmoji(sources).locales;
  expect(de.names.slice(0, 2)).toEqual(['roter Apfel', null]);
  expect(de.keywords[0]).toEqual(['Apfel']);
  expect(en.names[1]).toBe('pirate flag');
  expect(en.names[0]).toBe('red  apple');
});

test('a set without code points is joined by names of CLDR and of the other sets', () => {
  const { emoji } = joinEmoji(sources);
  expect(emoji[0].drawings).toEqual({
    twemoji: 'red-apple',
    emojione: 'an-apple',
    fxemoji: 'redapple',
    'streamline-emojis': 'red-apple-1',
    'fluent-emoji-high-contrast': 'red',
  });

  expect(emoji[2].drawings.emojione).toBe('flag-for-flag-norway');
});

test('a drawing in one colour that several emoji share belongs to none of them, and makes no twins', () => {
  const [, , norway, bouvet] = joinEmoji(sources).emoji;
  expect(norway.drawings).not.toHaveProperty('fluent-emoji-high-contrast');
  expect(bouvet.drawings).not.toHaveProperty('fluent-emoji-high-contrast');
});

test('drawings that are alike make twins, by way of a third one too', () => {
  expect(joinEmoji(sources).emoji.map((e) => e.twin)).toEqual([0, 1, 2, 2, 2]);
});

test('codes have no variation selector, slugs no accents', () => {
  expect(codeOf('❤️')).toBe('2764');
  expect(slug('flag: Côte d’Ivoire')).toBe('flag-cote-divoire');
  expect(slug('UP! button')).toBe('up-button');
});
