/** A function to be made small, and its gradient, which is written into the second argument.   x, gradient: [n] */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

export type MinimizeOptions = {
  /** Stops when no component of the gradient is larger. Default 1e-6. */
  readonly tolerance?: number;
  /** Default 500. */
  readonly maxIterations?: number;
  /** Awaited before every evaluation. */
  readonly turn?: () => Promise<void> | undefined;
};

export type Minimum = { readonly x: Float64Array; readonly iterations: number; readonly converged: boolean };

type Step = { readonly s: Float64Array; readonly y: Float64Array; readonly rho: number };

const HISTORY = 10;
const [ARMIJO, CURVATURE, TRIALS] = [1e-4, 0.9, 40];

/**
 * L-BFGS with a line search that bisects until both weak Wolfe conditions hold, which keeps every curvature pair positive.
 * For smooth functions. Starts at `start` and leaves it as it is. (Nocedal and Wright 2006, algorithms 7.4 and 7.5)
 */
export async function minimize(
  objective: Objective,
  start: Float64Array,
  { tolerance = 1e-6, maxIterations = 500, turn }: MinimizeOptions = {},
): Promise<Minimum> {
  let x = start.slice();
  let gradient = new Float64Array(x.length);
  let value = objective(x, gradient);
  const steps: Step[] = [];
  for (let iteration = 0; ; iteration++) {
    if (largest(gradient) <= tolerance) return { x, iterations: iteration, converged: true };
    if (iteration === maxIterations) return { x, iterations: iteration, converged: false };
    const direction = descentDirection(gradient, steps);
    const slope = dot(direction, gradient);
    // Without curvature yet, the gradient's length says nothing of how far to go.
    let length = steps.length === 0 ? Math.min(1, 1 / Math.sqrt(dot(gradient, gradient))) : 1;
    let [near, far] = [0, Infinity];
    let next = x;
    let nextGradient = gradient;
    let nextValue = value;
    for (let trial = 0; ; trial++) {
      // At the limit of float64 no step is lower any more: this is as small as it gets.
      if (trial === TRIALS) return { x, iterations: iteration, converged: false };
      await turn?.();
      next = moved(x, direction, length);
      nextGradient = new Float64Array(x.length);
      nextValue = objective(next, nextGradient);
      if (!(nextValue <= value + ARMIJO * length * slope)) far = length;
      else if (dot(nextGradient, direction) < CURVATURE * slope) near = length;
      else break;
      length = far === Infinity ? 2 * near : (near + far) / 2;
    }
    const s = next.map((v, i) => v - x[i]);
    const y = nextGradient.map((v, i) => v - gradient[i]);
    steps.push({ s, y, rho: 1 / dot(s, y) });
    if (steps.length > HISTORY) steps.shift();
    [x, gradient, value] = [next, nextGradient, nextValue];
  }
}

/** −H g, with H the inverse Hessian that the last steps suggest. */
function descentDirection(gradient: Float64Array, steps: readonly Step[]): Float64Array {
  const q = gradient.map((g) => -g);
  const alphas = new Float64Array(steps.length);
  for (let i = steps.length - 1; i >= 0; i--) {
    alphas[i] = steps[i].rho * dot(steps[i].s, q);
    add(q, steps[i].y, -alphas[i]);
  }
  const last = steps[steps.length - 1];
  if (last) {
    const scale = 1 / (last.rho * dot(last.y, last.y));
    for (let i = 0; i < q.length; i++) q[i] *= scale;
  }
  steps.forEach(({ s, y, rho }, i) => {
    add(q, s, alphas[i] - rho * dot(y, q));
  });
  return q;
}

const moved = (x: Float64Array, direction: Float64Array, length: number): Float64Array<ArrayBuffer> =>
  Float64Array.from(x, (v, i) => v + length * direction[i]);

function add(target: Float64Array, x: Float64Array, scale: number): void {
  for (let i = 0; i < target.length; i++) target[i] += scale * x[i];
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

const largest = (x: Float64Array): number => x.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
