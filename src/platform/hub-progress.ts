/** Where a download is, over all its files. */
export type HubProgress = {
  /** Bytes that are here, those of earlier runs included, and in all. `done` goes back when a file has to start over. */
  readonly done: number;
  readonly total: number;
  /** Over the last seconds; 0 at the start. */
  readonly bytesPerSecond: number;
  /** `null` while nothing arrives. */
  readonly secondsLeft: number | null;
};

export type OnDownload = (progress: HubProgress) => void;

/** Ten times a second is smooth to the eye and costs nothing. */
const everyMs = 100;
const windowMs = 5000;

/** Sums up files that arrive side by side: tell it how far each one is. `finish` reports the end even if that was just now. */
export function progressMeter(total: number, done: number, report: OnDownload) {
  const places = new Map<string, number>();
  // Recent reports. Bytes found on disk move the sum, but not the speed.
  let recent = [{ time: performance.now(), received: 0 }];
  let received = 0;
  let last = Number.NEGATIVE_INFINITY;

  function tell(): void {
    const time = performance.now();
    last = time;
    recent = [...recent.filter((r) => time - r.time <= windowMs), { time, received }];
    const span = (time - recent[0].time) / 1000;
    const bytesPerSecond = span > 0 ? (received - recent[0].received) / span : 0;
    const secondsLeft = bytesPerSecond > 0 ? (total - done) / bytesPerSecond : null;
    report({ done, total, bytesPerSecond, secondsLeft });
  }

  return {
    /** A file is now at byte `at`, `fresh` of which came over the line since the last call. */
    at(path: string, at: number, fresh = 0): void {
      done += at - (places.get(path) ?? 0);
      places.set(path, at);
      received += fresh;
      if (performance.now() - last >= everyMs) tell();
    },
    finish: tell,
  };
}
