/** Family, and branch where it is large, of each language in CLDR's annotations. (Glottolog 5; creoles by their main source) */
const FAMILIES: Readonly<Record<string, string>> = {
  Germanic: 'af bar da de en fo frr fy is lb nl nn no nds pcm sv',
  Romance: 'ast ca es fr gl it lij oc pap pt rm ro sc vec',
  Slavic: 'be bg bs cs dsb hr hsb mk pl ru sk sl sr szl uk',
  Baltic: 'lt lv',
  Celtic: 'br cy ga gd',
  Greek: 'el',
  Albanian: 'sq',
  Armenian: 'hy',
  'Indo-Aryan': 'as bn ccp doi gu hi kok mai mr ne or pa rhg sa sd si ur',
  Iranian: 'bgn ckb fa ku ps tg',
  Turkic: 'az ba cv kk ky tk tr tt ug uz',
  Mongolic: 'mn',
  Uralic: 'et fi hu',
  Dravidian: 'kn ml ta te',
  Semitic: 'am ar he mt syr ti',
  Berber: 'kab',
  Cushitic: 'om so',
  Chadic: 'ha',
  'Niger-Congo': 'ak blo ff ig nso rw sw tn wo xh yo zu',
  Austronesian: 'bew ceb fil id jv mi ms su to',
  'Sino-Tibetan': 'mni my yue zh',
  'Tai-Kadai': 'lo shn th',
  Austroasiatic: 'km sat vi',
  Japonic: 'ja',
  Koreanic: 'ko',
  Kartvelian: 'ka',
  Basque: 'eu',
  'Eskimo-Aleut': 'kl',
  Iroquoian: 'chr',
  Quechuan: 'qu',
  Mayan: 'quc',
  constructed: 'ia',
};

const FAMILY_OF = new Map(
  Object.entries(FAMILIES).flatMap(([family, languages]) => languages.split(' ').map((l) => [l, family])),
);

/** 'pt-PT' → 'Romance'; 'other' for a language that the table does not know. */
export const familyOf = (locale: string): string => FAMILY_OF.get(locale.split('-')[0]) ?? 'other';
