/* How fast bytes went of late, and how long the rest will take. */

const WINDOW_MS = 10_000;

export class Rate {
  constructor() {
    /** @type {[number, number][]} time in ms, bytes so far */
    this.seen = [];
  }

  /** @param {number} numBytes so far */
  note(numBytes) {
    const now = performance.now();
    this.seen.push([now, numBytes]);
    while (this.seen.length > 2 && this.seen[0][0] < now - WINDOW_MS) this.seen.shift();
  }

  /** After a pause nothing of before counts. */
  forget() {
    this.seen = [];
  }

  /** Bytes per second; null until there is something to say. */
  get bytesPerS() {
    if (this.seen.length < 2) return null;
    const [[start, first], [end, last]] = [this.seen[0], this.seen[this.seen.length - 1]];
    return end - start < 500 || last <= first ? null : ((last - first) / (end - start)) * 1000;
  }
}
