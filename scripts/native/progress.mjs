/**
 * One line a step: `[2/5] TensorFlow library: ... 12.3 s`. On a terminal the line of the running step is rewritten;
 * piped, each line is printed once, when its step is done.
 *
 * @typedef {{ note(text: string): void, live(text: string): void }} Step
 */
export class Progress {
  #done = 0;
  /** @param {number} total @param {NodeJS.WriteStream} [out] */
  constructor(total, out = process.stdout) {
    this.total = total;
    this.out = out;
  }

  /** Runs one step. `live` shows where it stands, `note` adds to its final line.
   * @template T @param {string} title @param {(step: Step) => Promise<T>} work @returns {Promise<T>} */
  async step(title, work) {
    const started = performance.now();
    const head = `[${++this.#done}/${this.total}] ${title}`;
    let note = '';
    let live = '';
    const draw = () => this.#rewrite(`${head}${live && ` ${live}`}  ${seconds(started)}`);
    const timer = this.out.isTTY ? setInterval(draw, 200) : undefined;
    if (timer) draw();
    try {
      return await work({
        note: (text) => {
          note += `${note ? ', ' : ': '}${text}`;
        },
        live: (text) => {
          live = text;
        },
      });
    } catch (error) {
      note += `${note ? ', ' : ': '}failed`;
      throw error;
    } finally {
      clearInterval(timer);
      if (timer) this.#rewrite('');
      this.out.write(`${head}${note}  ${seconds(started)}\n`);
    }
  }

  /** @param {string} line */
  #rewrite(line) {
    this.out.write(`\r\x1b[K${line.slice(0, (this.out.columns ?? 80) - 1)}`);
  }
}

/** @param {number} since a `performance.now()` */
export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
