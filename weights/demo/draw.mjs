// Draws the demo's pictures: simple scenes, 224 × 224, written as SVG by us and rendered by sharp.
//   node weights/demo/draw.mjs
// The PNG files are in the repository; run this only after a change here.
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

const SKY = '#bfe3ff';
const GRASS = '#7cc36a';

const scene = (background, body) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="224" height="224"><rect width="224" height="224" fill="${background}"/>${body}</svg>`;

const rect = (x, y, width, height, fill, radius = 0) =>
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="${radius}" fill="${fill}"/>`;
const circle = (x, y, r, fill) => `<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}"/>`;
const shape = (points, fill) => `<polygon points="${points}" fill="${fill}"/>`;
const path = (d, fill) => `<path d="${d}" fill="${fill}"/>`;
const line = (d, stroke, width) =>
  `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round"/>`;
const ground = rect(0, 168, 224, 56, GRASS);

const rays = Array.from({ length: 12 }, (_, i) => {
  const [x, y] = [Math.cos((i * Math.PI) / 6), Math.sin((i * Math.PI) / 6)];
  return line(`M ${112 + 66 * x} ${112 + 66 * y} L ${112 + 92 * x} ${112 + 92 * y}`, '#ffb300', 9);
}).join('');

const pictures = {
  apple: scene(
    '#ffffff',
    path('M112 76 C88 48 36 60 40 120 C44 172 84 204 112 188 C140 204 180 172 184 120 C188 60 136 48 112 76 Z', '#d62828') +
      line('M112 78 C110 60 116 46 128 36', '#6b3f1d', 8) +
      path('M120 54 C132 32 160 32 172 42 C160 62 136 66 120 54 Z', '#4c9a2a') +
      circle(76, 104, 12, '#ef6f6f'),
  ),
  car: scene(
    SKY,
    rect(0, 160, 224, 64, '#8a8d91') +
      path('M60 118 L84 80 H140 L168 118 Z', '#1d5fbf') +
      path('M78 114 L92 90 H108 V114 Z M116 114 V90 H136 L152 114 Z', '#d7efff') +
      rect(24, 114, 176, 48, '#1d5fbf', 16) +
      circle(68, 162, 22, '#222222') +
      circle(156, 162, 22, '#222222') +
      circle(68, 162, 9, '#c9ccd1') +
      circle(156, 162, 9, '#c9ccd1') +
      rect(188, 126, 12, 12, '#ffe066', 4),
  ),
  tree: scene(
    SKY,
    ground +
      rect(100, 104, 24, 92, '#7a4a22') +
      circle(112, 76, 46, '#2e8b3a') +
      circle(76, 104, 34, '#37993f') +
      circle(148, 104, 34, '#277a32'),
  ),
  sun: scene('#8fd0ff', rays + circle(112, 112, 52, '#ffd60a')),
  house: scene(
    SKY,
    ground +
      rect(56, 104, 112, 84, '#f3e3c3') +
      shape('40,108 112,48 184,108', '#b3261e') +
      rect(98, 136, 28, 52, '#6b3f1d') +
      rect(66, 124, 24, 24, '#5aa9e6') +
      rect(134, 124, 24, 24, '#5aa9e6') +
      rect(146, 56, 16, 32, '#8c2f23'),
  ),
  boat: scene(
    SKY,
    rect(0, 148, 224, 76, '#1f78b4') +
      line('M112 36 V150', '#6b3f1d', 6) +
      shape('118,40 118,136 180,136', '#ffffff') +
      shape('106,56 106,136 60,136', '#f6d9d5') +
      path('M44 146 H184 L164 184 H64 Z', '#8b4a1f') +
      line('M8 200 q14 -10 28 0 t28 0 t28 0 t28 0 t28 0 t28 0 t28 0', '#6fb7e0', 4),
  ),
  fish: scene(
    '#0f6fa8',
    path('M40 112 C64 64 132 60 164 112 C132 164 64 160 40 112 Z', '#f77f00') +
      shape('156,112 204,76 204,148', '#f77f00') +
      path('M92 76 C104 52 128 54 136 72 Z', '#d96a00') +
      circle(72, 102, 9, '#ffffff') +
      circle(70, 102, 5, '#111111') +
      line('M100 88 Q114 112 100 136', '#d96a00', 5) +
      circle(28, 76, 6, '#9fd6f2') +
      circle(20, 52, 4, '#9fd6f2'),
  ),
  chart: scene(
    '#ffffff',
    rect(48, 128, 28, 60, '#4e79a7') +
      rect(88, 100, 28, 88, '#59a14f') +
      rect(128, 76, 28, 112, '#f28e2b') +
      rect(168, 44, 28, 144, '#e15759') +
      line('M32 28 V190 H208', '#333333', 4),
  ),
};

for (const [name, svg] of Object.entries(pictures)) {
  const file = fileURLToPath(new URL(`${name}.png`, import.meta.url));
  const { size } = await sharp(Buffer.from(svg)).png({ palette: true, compressionLevel: 9 }).toFile(file);
  console.log(`${name}.png ${size} bytes`);
}
