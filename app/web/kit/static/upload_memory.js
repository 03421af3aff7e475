/* What this browser remembers of uploads that are not finished, for each project. A browser that keeps nothing
   (a private window, a policy) is fine: then an upload cannot be taken up after a reload. */

const OLD_MS = 7 * 24 * 3600 * 1000;

/**
 * @typedef {object} Remembered
 * @property {string} id of the upload
 * @property {string} name
 * @property {number} size
 * @property {number} lastModified
 * @property {string} sample digest of some of its bytes
 * @property {number} begunAt
 */

export class UploadMemory {
  /** @param {string} project */
  constructor(project) {
    this.key = `cleanclip.uploads.${project}`;
    this.works = this.#tried();
  }

  #tried() {
    try {
      localStorage.setItem(`${this.key}.tried`, '1');
      localStorage.removeItem(`${this.key}.tried`);
      return true;
    } catch {
      return false;
    }
  }

  /** @returns {Remembered[]} newest first */
  list() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? '[]');
      return kept.filter((one) => typeof one.id === 'string' && one.begunAt > Date.now() - OLD_MS);
    } catch {
      return [];
    }
  }

  /** @param {Remembered} upload */
  remember(upload) {
    this.#keep([upload, ...this.list().filter((one) => one.id !== upload.id)]);
  }

  /** @param {string} id */
  forget(id) {
    this.#keep(this.list().filter((one) => one.id !== id));
  }

  /** @param {Remembered[]} uploads */
  #keep(uploads) {
    try {
      localStorage.setItem(this.key, JSON.stringify(uploads));
    } catch {
      this.works = false;
    }
  }
}
