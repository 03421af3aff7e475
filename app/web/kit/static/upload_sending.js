/* Sends one file: parts straight to the object store, four at a time, digest beside, until it is a checkpoint.
   Whatever interrupts it (pause, network, session, another tab) is waited for; the store then says which parts
   it has. Does not depend on an element: it reports its state and its figures to whoever made it. */
import { NoAnswer, OtherProject, Refusal, SignedOut } from './upload_calls.js';
import { PutFailed, isReachable, put } from './upload_putting.js';
import { Rate } from './upload_rate.js';

const AT_ONCE = 4;
const URLS_AT_ONCE = 32;
const MAX_TRIES = 5;
const FIRST_WAIT_MS = 500;
const FIGURES_EVERY_MS = 250;

/** Ends the sending for good, or until somebody says go on. */
class Stopped extends Error {
  /** @param {string} message @param {string} remedy @param {{isFinal?: boolean}} [how] */
  constructor(message, remedy, { isFinal = false } = {}) {
    super(message);
    this.remedy = remedy;
    this.isFinal = isFinal;
  }
}

/** @typedef {'starting' | 'sending' | 'digesting' | 'completing' | 'paused' | 'waiting' | 'offline' |
 *  'signed-out' | 'elsewhere' | 'stopped' | 'failed' | 'refused' | 'cancelled' | 'done'} State */

export class Sending {
  /**
   * @param {object} given
   * @param {File} given.file
   * @param {import('./upload_calls.js').Calls} given.calls
   * @param {string} given.workerUrl
   * @param {(state: State, message?: string, remedy?: string, detail?: any) => void} given.onState
   * @param {() => void} given.onFigures
   */
  constructor({ file, calls, workerUrl, onState, onFigures }) {
    this.file = file;
    this.calls = calls;
    this.onState = onState;
    this.onFigures = onFigures;
    /** @type {import('./upload_calls.js').Plan | null} */
    this.plan = null;
    this.rate = new Rate();
    this.digestedBytes = 0;
    this.workerUrl = workerUrl;
    /** @type {Promise<string> | null} */
    this.digest = null;
    /** @type {Set<number>} */
    this.stored = new Set();
    /** @type {Map<number, number>} bytes of parts on their way */
    this.underWay = new Map();
    /** @type {Map<number, {url: string, until: number}>} */
    this.urls = new Map();
    this.asking = Promise.resolve();
    this.round = new AbortController();
    this.isPaused = false;
    this.isOver = false;
    this.failures = 0;
    this.wakeUp = () => {};
    this.lastFigures = 0;
  }

  get sentBytes() {
    let sum = 0;
    for (const number of this.stored) sum += this.#sizeOf(number);
    for (const numBytes of this.underWay.values()) sum += numBytes;
    return Math.min(sum, this.file.size);
  }

  /** Seconds; null while it is not known. */
  get leftS() {
    const rate = this.rate.bytesPerS;
    return rate === null ? null : (this.file.size - this.sentBytes) / rate;
  }

  /**
   * A new upload, or the rest of one that was begun.
   * @param {Record<string, string>} fields
   * @param {string | null} id
   * @param {(plan: import('./upload_calls.js').Plan) => void} onBegun
   */
  async run(fields, id, onBegun) {
    this.onState('starting');
    const begun = await this.#insist(async () => {
      this.plan = id === null ? await this.calls.begin(fields) : await this.calls.show(id);
      this.#learn(this.plan);
    });
    if (!begun || this.isOver) return;
    onBegun(this.plan);
    await this.#alone(() => this.#insist(() => this.#sendAll()));
    this.worker?.terminate();
  }

  pause() {
    this.isPaused = true;
    this.round.abort();
    this.wakeUp();
  }

  /** After a pause, a stop, or signing in again. */
  goOn() {
    this.isPaused = false;
    this.wakeUp();
  }

  async cancel() {
    this.isOver = true;
    this.round.abort();
    this.worker?.terminate();
    this.wakeUp();
    if (this.plan) await this.calls.cancel(this.plan.id);
    this.onState('cancelled');
  }

  // -- one tab only

  /** @param {() => Promise<boolean>} work */
  async #alone(work) {
    if (!navigator.locks || !this.plan) return work(); // plain http: two tabs may send the same bytes twice
    const name = `cleanclip-upload ${this.plan.id}`;
    const isMine = await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock) await work();
      return lock !== null;
    });
    if (isMine) return true;
    this.onState('elsewhere');
    return navigator.locks.request(name, () => this.isOver || (this.#forgetProgress(), work()));
  }

  // -- going on after whatever happened

  /** Until it is done (true) or over (false). @param {() => Promise<void>} work */
  async #insist(work) {
    while (!this.isOver) {
      this.round = new AbortController();
      try {
        if (this.isPaused) await this.#pausing();
        await work();
        return true;
      } catch (error) {
        this.round.abort();
        if (!this.isOver) await this.#recover(error);
      }
    }
    return false;
  }

  /** @param {any} error */
  async #recover(error) {
    this.rate.forget();
    this.#forgetProgress();
    if (this.isPaused) return;
    if (error instanceof SignedOut) return this.#signingIn();
    const cause = error instanceof PutFailed ? await this.#causeOf(error) : error;
    if (this.isOver || this.isPaused) return;
    if (cause instanceof NoAnswer || (cause instanceof Refusal && cause.isPassing)) return this.#waiting(cause);
    if (cause instanceof Stopped && !cause.isFinal) {
      this.failures = 0;
      this.onState('stopped', cause.message, cause.remedy);
      return this.#woken();
    }
    this.isOver = true;
    this.worker?.terminate();
    const isOfForm = cause instanceof Refusal && !this.plan;
    this.onState(isOfForm ? 'refused' : 'failed', cause.message, cause.remedy ?? 'Reload the page.', cause);
  }

  /** What a part's failure means, for people. @param {PutFailed} error */
  async #causeOf(error) {
    if (!(await this.#isReadable())) return this.#unreadable();
    if (!navigator.onLine) return new NoAnswer();
    const url = this.lastUrl ?? location.href;
    const host = new URL(url).host;
    if (error.status !== 0)
      return new Stopped(
        `The object store (${host}) refuses a part: it answers ${error.status}.`,
        'Try again; if that does not help, tell the operator of this service.',
      );
    if (await isReachable(url))
      return new Stopped(
        `The object store (${host}) does not accept uploads from this page.`,
        'Its CORS rule does not allow this site: tell the operator of this service. Until then: cleanclip upload FILE',
      );
    return new Stopped(
      `The object store (${host}) cannot be reached from this browser.`,
      'Check the network, and whether something blocks the connection; then continue.',
    );
  }

  async #pausing() {
    this.onState('paused');
    this.rate.forget();
    while (this.isPaused && !this.isOver) await this.#woken();
    if (this.isOver) throw new Stopped('', '', { isFinal: true });
  }

  async #signingIn() {
    this.onState('signed-out');
    while (!this.isOver) {
      await this.#woken(['focus', 'visibilitychange']);
      if (this.isOver) return;
      try {
        await this.calls.renew();
        return;
      } catch (error) {
        if (error instanceof OtherProject) {
          this.onState('signed-out', 'You signed in with a key of another project.', 'Sign in with a key of this project.');
        }
      }
    }
  }

  /** @param {Error} cause */
  async #waiting(cause) {
    if (!navigator.onLine) {
      this.onState('offline');
      await this.#woken(['online']);
      return;
    }
    this.failures += 1;
    const refused = cause instanceof Refusal ? cause : null;
    const waitMs = Math.max((refused?.retryAfterS ?? 0) * 1000, backoffMs(this.failures));
    this.onState('waiting', refused?.message ?? 'The service does not answer.', 'The page retries automatically.');
    await this.#woken(['online'], waitMs);
  }

  /** Until goOn, pause, cancel; or one of these events of the window; or so long.
   * @param {string[]} [events] @param {number} [waitMs] */
  #woken(events = [], waitMs = 0) {
    return new Promise((resolve) => {
      let timer = 0;
      const woken = () => {
        clearTimeout(timer);
        for (const name of events) (name === 'visibilitychange' ? document : window).removeEventListener(name, woken);
        resolve();
      };
      this.wakeUp = woken;
      if (waitMs) timer = setTimeout(woken, waitMs);
      for (const name of events) (name === 'visibilitychange' ? document : window).addEventListener(name, woken);
    });
  }

  // -- parts

  async #sendAll() {
    this.#beginDigest();
    if (!this.isFresh) this.#learn(await this.calls.show(this.plan.id));
    this.isFresh = false;
    if (this.plan.state === 'completed') return this.#done();
    if (this.plan.state !== 'open')
      throw new Stopped(`The upload is ${this.plan.state}.`, 'Choose the file again to start from the beginning.', { isFinal: true });
    const missing = [];
    for (let number = 1; number <= this.plan.num_parts; number += 1) if (!this.stored.has(number)) missing.push(number);
    if (missing.length) {
      this.onState('sending');
      await this.#sendParts(missing);
    }
    await this.#complete();
  }

  async #complete() {
    this.onState('digesting');
    this.#beginDigest();
    const sha256 = await this.#unlessAborted(this.digest);
    this.onState('completing');
    try {
      this.plan = await this.calls.complete(this.plan.id, sha256);
    } catch (error) {
      const isAgain = error instanceof Refusal && ['upload_parts_missing', 'upload_part_mismatch'].includes(error.code);
      if (!isAgain || (this.failures += 1) > MAX_TRIES) throw error;
      throw new NoAnswer(); // the store lost a part: look what it has, and send the rest
    }
    this.#done();
  }

  #done() {
    this.isOver = true;
    this.onState('done', undefined, undefined, this.plan.checkpoint_url);
  }

  /** @param {import('./upload_calls.js').Plan} plan */
  #learn(plan) {
    this.plan = plan;
    this.stored = new Set(plan.stored ?? []);
    this.isFresh = true;
    this.#figures(true);
  }

  /** @param {number[]} missing */
  async #sendParts(missing) {
    const signal = this.round.signal;
    this.rate.note(this.sentBytes);
    const runner = async () => {
      for (let number = missing.shift(); number !== undefined; number = missing.shift()) {
        await this.#sendPart(number, missing, signal);
      }
    };
    const runners = Array.from({ length: AT_ONCE }, runner);
    try {
      await Promise.all(runners);
    } catch (error) {
      this.round.abort();
      await Promise.allSettled(runners);
      throw error;
    }
  }

  /** With a fresh address each time it fails. @param {number} number @param {number[]} next @param {AbortSignal} signal */
  async #sendPart(number, next, signal) {
    for (let failed = 0; ; ) {
      const url = await this.#urlOf(number, next, signal);
      this.lastUrl = url;
      const start = (number - 1) * this.plan.part_size_bytes;
      const part = this.file.slice(start, start + this.#sizeOf(number));
      try {
        await put(url, part, signal, (numBytes) => {
          this.underWay.set(number, numBytes);
          this.#figures();
        });
        this.underWay.delete(number);
        this.stored.add(number);
        this.failures = 0;
        this.#figures();
        return;
      } catch (error) {
        this.underWay.delete(number);
        this.urls.delete(number); // it may have expired
        signal.throwIfAborted();
        failed += 1;
        const isHopeless = !navigator.onLine || !(await this.#isReadable());
        if (isHopeless || failed >= MAX_TRIES) throw error;
        await this.#unlessAborted(new Promise((resolve) => setTimeout(resolve, backoffMs(failed))), signal);
      }
    }
  }

  /** @param {number} number @param {number[]} next @param {AbortSignal} signal @returns {Promise<string>} */
  async #urlOf(number, next, signal) {
    const fresh = () => {
      const found = this.urls.get(number);
      return found && found.until > performance.now() ? found.url : null;
    };
    while (!fresh()) {
      signal.throwIfAborted();
      // One asks, for all who will need some.
      this.asking = this.asking.catch(() => {}).then(() => (fresh() || signal.aborted ? null : this.#ask(number, next)));
      await this.#unlessAborted(this.asking, signal);
    }
    return fresh() ?? this.#urlOf(number, next, signal);
  }

  /** @param {number} number @param {number[]} next */
  async #ask(number, next) {
    const asked = performance.now();
    const answer = await this.calls.presign(this.plan.id, [number, ...next.slice(0, URLS_AT_ONCE - 1)]);
    const until = asked + 1000 * (answer.expires_in_s - Math.min(30, answer.expires_in_s / 4));
    for (const [name, url] of Object.entries(answer.urls)) this.urls.set(Number(name), { url, until });
  }

  // -- the file

  /** Beside the sending, and once; but again where its program could not be loaded. */
  #beginDigest() {
    if (this.digest) return;
    const begun = digest(this.workerUrl, this.file, (worker) => { this.worker = worker; }, (numBytes) => {
      this.digestedBytes = numBytes;
      this.#figures(numBytes === this.file.size);
    });
    this.digest = begun;
    begun.catch((error) => { // said when it is waited for
      if (error instanceof NoAnswer) this.digest = null;
    });
  }

  async #isReadable() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
      return true;
    } catch {
      return false;
    }
  }

  #unreadable() {
    return new Stopped(
      'The file was changed, moved or removed while it was being sent.',
      'Cancel the upload and choose the file again.',
      { isFinal: true },
    );
  }

  // -- small things

  /** @param {number} number */
  #sizeOf(number) {
    const { num_parts: last, part_size_bytes: size } = this.plan;
    return number < last ? size : this.file.size - (last - 1) * size;
  }

  #forgetProgress() {
    this.underWay.clear();
    this.urls.clear();
    this.isFresh = false;
    this.#figures(true);
  }

  /** @template T @param {Promise<T>} promise @param {AbortSignal} [signal] @returns {Promise<T>} */
  #unlessAborted(promise, signal = this.round.signal) {
    return new Promise((resolve, reject) => {
      const aborted = () => reject(signal.reason);
      if (signal.aborted) return aborted();
      signal.addEventListener('abort', aborted, { once: true });
      promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
    });
  }

  #figures(isForced = false) {
    const now = performance.now();
    if (!isForced && now - this.lastFigures < FIGURES_EVERY_MS) return;
    this.lastFigures = now;
    if (this.underWay.size) this.rate.note(this.sentBytes);
    this.onFigures();
  }
}

/** @param {number} failed how often */
function backoffMs(failed) {
  return FIRST_WAIT_MS * 2 ** Math.min(failed - 1, 6) * (0.75 + Math.random() / 2);
}

/**
 * SHA-256 in a thread of its own; raises NoAnswer where the thread's program cannot be loaded, Stopped where the
 * file cannot be read.
 * @param {string} workerUrl @param {File} file
 * @param {(worker: Worker) => void} onMade @param {(numBytes: number) => void} [onProgress]
 * @returns {Promise<string>}
 */
export function digest(workerUrl, file, onMade, onProgress) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerUrl, { type: 'module' });
    onMade(worker);
    const end = (settle) => {
      worker.terminate();
      settle();
    };
    worker.onerror = () => end(() => reject(new NoAnswer()));
    worker.onmessage = ({ data }) => {
      if (data.sha256) return end(() => resolve(data.sha256));
      if (!data.failed) return onProgress?.(data.numBytes);
      const message = 'The file could not be read to its end, so its SHA-256 is not known.';
      return end(() => reject(new Stopped(message, 'Choose it again.', { isFinal: true })));
    };
    worker.postMessage({ file, isSample: onProgress === undefined });
  });
}
