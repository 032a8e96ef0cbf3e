import * as tf from '@tensorflow/tfjs-core';

type Handle = { readonly dataId: object; readonly size: number };
type Tracking = { trackTensor(t: Handle, ...rest: unknown[]): void; disposeTensor(t: Handle): void };

/** The most bytes that tensors made during `f` occupy at once. */
export async function mostAlive(f: () => Promise<void> | void): Promise<number> {
  const engine = tf.engine() as unknown as Tracking;
  const { trackTensor, disposeTensor } = engine;
  const handles = new Map<object, number>();
  let alive = 0;
  let most = 0;
  engine.trackTensor = function (t, ...rest) {
    const known = handles.get(t.dataId) ?? 0;
    handles.set(t.dataId, known + 1);
    if (known === 0) alive += 4 * t.size;
    most = Math.max(most, alive);
    return trackTensor.call(this, t, ...rest);
  };
  engine.disposeTensor = function (t) {
    const known = handles.get(t.dataId) ?? 0;
    if (known === 1) alive -= 4 * t.size;
    if (known > 0) handles.set(t.dataId, known - 1);
    return disposeTensor.call(this, t);
  };
  try {
    await f();
  } finally {
    Object.assign(engine, { trackTensor, disposeTensor });
  }
  return most;
}
