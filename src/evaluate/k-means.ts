import { InputError } from '../errors.ts';
import { seededRandom } from './seeded-random.ts';

export type KMeansOptions = {
  readonly k: number;
  /** Default 0. The same seed gives the same clusters. */
  readonly seed?: number;
  /** Runs from other beginnings; the best one counts. Default 10. */
  readonly restarts?: number;
  /** Default 300. */
  readonly maxIterations?: number;
  /** Awaited now and then. */
  readonly turn?: () => Promise<void> | undefined;
};

export type Clusters = {
  /** The cluster of every vector. */
  readonly assignment: Int32Array;
  /** Sum of the squared distances to the centres. */
  readonly inertia: number;
};

/**
 * Lloyd's k-means from k-means++ beginnings. A cluster that loses its last vector gets the one that lies farthest from its
 * own centre. (Arthur and Vassilvitskii 2007; sklearn.cluster.KMeans)   vectors: n × [width]
 */
export async function kMeans(vectors: readonly Float32Array[], options: KMeansOptions): Promise<Clusters> {
  const { k, seed = 0, restarts = 10, maxIterations = 300, turn } = options;
  checkClusters(k, vectors.length);
  const random = seededRandom(seed);
  let best: Clusters | null = null;
  for (let run = 0; run < restarts; run++) {
    let centres = firstCentres(vectors, k, random);
    let found = await assign(vectors, centres, turn);
    for (let i = 0; i < maxIterations; i++) {
      centres = centresOf(vectors, found, k);
      const next = await assign(vectors, centres, turn);
      const settled = next.assignment.every((cluster, at) => cluster === found.assignment[at]);
      found = next;
      if (settled) break;
    }
    const inertia = found.distances.reduce((sum, d) => sum + d, 0);
    if (best === null || inertia < best.inertia) best = { assignment: found.assignment, inertia };
  }
  return best as Clusters;
}

/** @param of what an error begins with: the file of the items. @throws InputError for more clusters than items, or none */
export function checkClusters(k: number, items: number, of = ''): void {
  if (k >= 1 && k <= items) return;
  throw new InputError(
    `${of}cannot form ${k} clusters of ${items} items; give more items, or ask for fewer clusters`,
  );
}

type Assigned = { readonly assignment: Int32Array; readonly distances: Float64Array };

/**
 * k-means++: each next centre is a vector drawn with a probability in proportion to its squared distance from the centres
 * so far. Of a few draws the one that leaves least is kept, as scikit-learn does.
 */
function firstCentres(
  vectors: readonly Float32Array[],
  k: number,
  random: () => number,
): readonly Float64Array[] {
  const draws = 2 + Math.floor(Math.log(k));
  const first = Float64Array.from(vectors[Math.floor(random() * vectors.length)]);
  const centres = [first];
  let distances = Float64Array.from(vectors, (v) => squaredDistance(v, first));
  while (centres.length < k) {
    const total = distances.reduce((sum, d) => sum + d, 0);
    let best: {
      centre: Float64Array<ArrayBuffer>;
      distances: Float64Array<ArrayBuffer>;
      left: number;
    } | null = null;
    for (let draw = 0; draw < draws; draw++) {
      const centre = Float64Array.from(vectors[drawFrom(distances, random() * total)]);
      const reduced = distances.map((d, i) => Math.min(d, squaredDistance(vectors[i], centre)));
      const left = reduced.reduce((sum, d) => sum + d, 0);
      if (best === null || left < best.left) best = { centre, distances: reduced, left };
    }
    const chosen = best as NonNullable<typeof best>;
    centres.push(chosen.centre);
    distances = chosen.distances;
  }
  return centres;
}

/** The index at which the running sum passes `at`. */
function drawFrom(weights: Float64Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i];
    if (sum > at) return i;
  }
  return weights.length - 1; // all weights are zero: every vector lies on a centre
}

async function assign(
  vectors: readonly Float32Array[],
  centres: readonly Float64Array[],
  turn: KMeansOptions['turn'],
): Promise<Assigned> {
  const assignment = new Int32Array(vectors.length);
  const distances = new Float64Array(vectors.length).fill(Infinity);
  for (let i = 0; i < vectors.length; i++) {
    centres.forEach((centre, cluster) => {
      const distance = squaredDistance(vectors[i], centre);
      if (distance < distances[i]) [distances[i], assignment[i]] = [distance, cluster];
    });
    const pause = turn?.();
    if (pause) await pause;
  }
  return { assignment, distances };
}

function centresOf(vectors: readonly Float32Array[], found: Assigned, k: number): readonly Float64Array[] {
  const sums = Array.from({ length: k }, () => new Float64Array(vectors[0].length));
  const sizes = new Int32Array(k);
  vectors.forEach((vector, i) => {
    const sum = sums[found.assignment[i]];
    sizes[found.assignment[i]]++;
    for (let d = 0; d < vector.length; d++) sum[d] += vector[d];
  });
  const farthest = Array.from(found.distances, (_, i) => i).sort(
    (a, b) => found.distances[b] - found.distances[a],
  );
  let taken = 0;
  return sums.map((sum, cluster) =>
    sizes[cluster] === 0 ? Float64Array.from(vectors[farthest[taken++]]) : sum.map((v) => v / sizes[cluster]),
  );
}

function squaredDistance(a: Float32Array, b: Float64Array): number {
  let sum = 0;
  for (let d = 0; d < b.length; d++) sum += (a[d] - b[d]) ** 2;
  return sum;
}
