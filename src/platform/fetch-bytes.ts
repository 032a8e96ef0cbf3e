import { SourceError } from '../errors.ts';

export const isHttp = (source: string | URL): boolean => /^https?:/i.test(String(source));

/** The whole body behind a URL (http, https, data, blob). @throws SourceError with the status, or why there was no answer */
export async function fetchBytes(source: string | URL, signal?: AbortSignal): Promise<Uint8Array> {
  const shown = String(source).slice(0, 200);
  let answer: Response;
  try {
    answer = await fetch(source, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    const cause = (error as Error).cause as Error | undefined;
    throw new SourceError(
      `${shown}: no answer (${cause?.message ?? (error as Error).message}); check the address and the network`,
      {
        cause: error,
      },
    );
  }
  if (!answer.ok)
    throw new SourceError(
      `${shown}: the server answered ${answer.status} ${answer.statusText}; check the address`,
    );
  try {
    return new Uint8Array(await answer.arrayBuffer());
  } catch (error) {
    signal?.throwIfAborted();
    throw new SourceError(`${shown}: the answer broke off (${(error as Error).message}); try again`, {
      cause: error,
    });
  }
}
