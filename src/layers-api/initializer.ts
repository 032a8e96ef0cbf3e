import type { Tensor } from '@tensorflow/tfjs-core';
import { initializers } from '@tensorflow/tfjs-layers';
import { InputError } from '../errors.ts';

/** What tfjs-layers asks of one. */
export type Initializer = ReturnType<typeof initializers.zeros>;

/** As a layer's configuration has it: the name of one of `tf.initializers`, or its class and arguments. */
export type SavedInitializer = string | { readonly className: string; readonly config?: object };

type Named = Readonly<Record<string, ((config: object) => Initializer) | undefined>>;

export function initializerOf(wish: SavedInitializer | Initializer): Initializer {
  if (typeof wish === 'object' && 'apply' in wish) return wish;
  const { className, config = {} } = typeof wish === 'string' ? { className: wish } : wish;
  const make = (initializers as unknown as Named)[className[0]?.toLowerCase() + className.slice(1)];
  if (make) return make(config);
  throw new InputError(
    `unknown initializer "${className}"; use one of tf.initializers: ${Object.keys(initializers).join(', ')}`,
  );
}

export const saved = (wish: SavedInitializer | Initializer): SavedInitializer =>
  typeof wish === 'object' && 'apply' in wish
    ? { className: wish.getClassName(), config: wish.getConfig() as object }
    : wish;

/** Starts a weight at a copy of these values. The tensor stays the caller's. */
export function startAt(value: Tensor): Initializer {
  const apply: Initializer['apply'] = (shape) => {
    if (shape.join() !== value.shape.join())
      throw new InputError(`a weight of shape [${shape}] cannot start as a tensor of shape [${value.shape}]`);
    return value.clone();
  };
  return Object.assign(initializers.zeros(), { apply });
}
