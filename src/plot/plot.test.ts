import { describe, expect, test } from 'vitest';
import { shortNumber } from './chart.ts';
import { barPlot, heatMap, htmlReport, linePlot } from './index.ts';

const axes = { title: 'a title', xLabel: 'below', yLabel: 'beside' };
const textsOf = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((m) => m[1]);
/** The points of the lines that are drawn in a colour. */
const pathOf = (svg: string, colour: string) => {
  const path = new RegExp(`<path d="([^"]+)"[^>]*fill="none"[^>]*stroke="${colour}" stroke-width="2"`).exec(
    svg,
  )?.[1];
  return [...(path ?? '').matchAll(/([ML])(-?[\d.]+) (-?[\d.]+)/g)].map((m) => ({
    pen: m[1],
    x: Number(m[2]),
    y: Number(m[3]),
  }));
};

describe('linePlot', () => {
  test('draws the points in proportion, each line in its colour, a gap where a value is missing', async () => {
    const svg = await linePlot({
      ...axes,
      lines: [
        {
          name: 'first',
          points: [
            [0, 0],
            [1, 4],
            [2, 2],
          ],
        },
        {
          name: 'second',
          points: [
            [0, 1],
            [1, 1],
            [2, null],
            [3, 3],
            [4, 4],
          ],
        },
      ],
    });
    expect(textsOf(svg)).toEqual(expect.arrayContaining(['a title', 'below', 'beside', 'first', 'second']));
    const [a, b, c] = pathOf(svg, '#0072b2');
    expect(b.x - a.x).toBeCloseTo(c.x - b.x, 0);
    expect((a.y - c.y) / (a.y - b.y)).toBeCloseTo(0.5, 2); // y grows downwards
    expect(pathOf(svg, '#d55e00').map((p) => p.pen)).toEqual(['M', 'L', 'M', 'L']);
  });

  test('on a logarithmic axis equal factors are equal steps; what has no logarithm is a gap', async () => {
    const svg = await linePlot({
      ...axes,
      logarithmic: true,
      lines: [
        {
          name: 'loss',
          points: [
            [0, 1],
            [1, 10],
            [2, 100],
            [3, 0],
            [4, 1],
            [5, 10],
          ],
        },
      ],
    });
    const [a, b, c, ...rest] = pathOf(svg, '#0072b2');
    expect(a.y - b.y).toBeCloseTo(b.y - c.y, 0);
    expect(rest.map((p) => p.pen)).toEqual(['M', 'L']);
  });

  test('the same plot is the same text', async () => {
    const plot = {
      ...axes,
      lines: [
        {
          name: 'loss',
          points: [
            [0, 1],
            [1, 2],
          ] as const,
        },
      ],
    };
    expect(await linePlot(plot)).toBe(await linePlot(plot));
  });
});

test('barPlot: heights in proportion to the values', async () => {
  const svg = await barPlot({ ...axes, categories: ['u', 'v'], series: [{ name: 's', values: [1, 2] }] });
  expect(textsOf(svg)).toEqual(expect.arrayContaining(['u', 'v', 'a title']));
  const heights = [
    ...svg.matchAll(/<path d="M[\d.]+ ([\d.]+)l[\d.-]+ 0l0 ([\d.-]+)[^"]*"[^>]*fill="#0072b2"/g),
  ].map((m) => Math.abs(Number(m[2])));
  expect(heights.length).toBe(2);
  expect(heights[1] / heights[0]).toBeCloseTo(2, 1);
});

test('heatMap: a cell a value, coloured from one end of the scale to the other', async () => {
  const svg = await heatMap({
    ...axes,
    rows: ['r1', 'r2'],
    columns: ['c1', 'c2'],
    values: [
      [0, 1],
      [null, 0.5],
    ],
    range: [0, 1],
  });
  expect(textsOf(svg)).toEqual(expect.arrayContaining(['r1', 'r2', 'c1', 'c2', '0.5']));
  for (const colour of ['rgb(68,1,84)', 'rgb(253,231,37)', 'rgb(33,145,140)']) expect(svg).toContain(colour);
});

describe('htmlReport', () => {
  test('shows texts as they are, and asks for nothing outside', async () => {
    const svg = await linePlot({ ...axes, lines: [{ name: '<script>', points: [[0, 1]] }] });
    const html = htmlReport('A & B', [
      {
        heading: '<b>bold</b>',
        text: `"quoted" 'too'`,
        figures: [
          { svg, caption: 'a "line"' },
          { svg, caption: 'again' },
        ],
        table: {
          columns: ['name', 'value'],
          rows: [
            ['<i>', 1.23456],
            ['x', 2],
          ],
        },
      },
    ]);
    expect(html).toContain('<title>A &amp; B</title>');
    expect(html).toContain('<h2>&lt;b&gt;bold&lt;/b&gt;</h2>');
    expect(html).toContain('<td>&lt;i&gt;</td><td class="n">1.235</td>');
    expect(html).not.toMatch(/<script|<i>|<link|<img|@import|https?:|\/\/\w|src=|href=/);
    expect(html.match(/<svg/g)?.length).toBe(2);
    // An id twice would clip one plot with the frame of the other.
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map((m) => m[1]);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBeGreaterThan(0);
  });
});

test('numbers are short', () => {
  expect([0, 0.00001234, 12.3456, -1234567, 0.5].map(shortNumber)).toEqual([
    '0',
    '1.2e-5',
    '12.35',
    '-1.2e+6',
    '0.5',
  ]);
});
