import type { WebGpu } from './backend.ts';
import type { BufferPool } from './buffer-pool.ts';

type Freeing = Omit<WebGpu, 'bufferManager'> & { readonly bufferManager: BufferPool };

/**
 * Has a backend give the buffer of a tensor back when it is disposed. TF.js waits until the commands that use it are submitted;
 * but what is recorded later runs later, so that it may use the buffer at once, and a large batch does not have the tensors of
 * two blocks waiting. Only what the queue writes comes before recorded commands: it takes idle buffers. Textures still wait.
 */
export function freeInOrder(backend: Freeing): void {
  const dispose = backend.disposeData.bind(backend);
  backend.disposeData = (dataId, force) => {
    const known = backend.tensorMap.has(dataId);
    if (known && backend.tensorMap.get(dataId).resource instanceof GPUBuffer)
      backend.commandQueueOwnedIds.delete(dataId);
    return dispose(dataId, force);
  };
  const submit = backend.submitQueue.bind(backend);
  backend.submitQueue = () => {
    submit();
    backend.bufferManager.submitted();
  };
}
