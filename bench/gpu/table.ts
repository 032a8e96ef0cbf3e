import { cellTable } from '../../src/cli/cell-table.ts';

/** One thing measured. Of `ms` less is better, of the other units more. */
export type Figure = {
  readonly case: string;
  /** How it was measured, where that is found out while measuring. */
  readonly how?: string;
  readonly value: number;
  readonly unit: 'ms' | 's' | 'a second' | 'GB/s' | 'GFLOP/s' | '%';
  /** What the design asks for, in the same unit. */
  readonly target?: number;
  readonly runs?: number;
  readonly best?: number;
  readonly error?: number;
};

/** What another engine reached at the case of this name. */
export type Yardstick = Pick<Figure, 'case' | 'value' | 'unit'>;

/** How many times as good as `than`: 1 is as good, 0.1 a tenth of it, whether more or less is better. */
export function timesAsGood({ value, unit }: Figure, than: number): number {
  return unit === 'ms' || unit === 's' ? than / value : value / than;
}

/**
 * A row a figure, with its target and how far it is, and (with yardsticks) what the other engine reached.
 *
 * @throws Error when a yardstick has no figure beside it, or one in another unit: then the engines did not run the same
 */
export function figuresTable(figures: readonly Figure[], yardsticks: readonly Yardstick[] | null): string {
  const byCase = new Map(yardsticks?.map((y) => [y.case, y]));
  for (const { case: name, unit } of byCase.values()) {
    const units = figures.filter((f) => f.case === name).map((f) => f.unit);
    if (units.length !== 1 || units[0] !== unit)
      throw new Error(
        `the yardstick has "${name}" in ${unit}, this package has ${units.length > 0 ? `it in ${units.join(', ')}` : 'no such case'}; ` +
          'bench/gpu/cases.ts and bench/reference/yardstick.py must agree',
      );
  }
  const rows = figures.map((figure) => {
    const { case: name, how, value, unit, runs = null, target } = figure;
    const cells = [how ? `${name}, ${how}` : name, readable(value), unit, runs, ...beside(figure, target)];
    return yardsticks ? [...cells, ...beside(figure, byCase.get(name)?.value)] : cells;
  });
  const columns = ['case', 'value', 'unit', 'runs', 'target', 'of target'];
  return cellTable({ columns: yardsticks ? [...columns, 'PyTorch', 'of PyTorch'] : columns, rows });
}

const beside = (figure: Figure, than: number | undefined): readonly (number | null)[] =>
  than === undefined ? [null, null] : [readable(than), timesAsGood(figure, than)];

/** Ceilings have five digits, and cells show four. */
const readable = (value: number): number => (value >= 1000 ? Math.round(value) : value);
