/* Calls of our own pages: JSON answers, the form token as a header. Does not depend on a file or an element. */

/** The service says no. `isPassing`: the same call may succeed later. */
export class Refusal extends Error {
  /** @param {number} status @param {any} body @param {string | null} retryAfter */
  constructor(status, body, retryAfter) {
    super(body.message ?? `The service answered ${status}.`);
    this.code = body.code ?? '';
    this.remedy = body.remedy ?? '';
    this.pointer = body.pointer ?? '';
    this.isPassing = status >= 500 || status === 429 || status === 408;
    this.retryAfterS = Number(retryAfter) || 0;
  }
}

/** The browser's session has ended. */
export class SignedOut extends Error {}

/** No answer came. */
export class NoAnswer extends Error {}

/** Who signed in again is of another project. */
export class OtherProject extends Error {}

/**
 * @typedef {object} Plan
 * @property {string} id
 * @property {string} state
 * @property {number} part_size_bytes
 * @property {number} num_parts
 * @property {string | null} checkpoint_url
 * @property {number[]} [stored] parts that the store holds
 */

export class Calls {
  /** @param {DOMStringMap} data of the form: uploads, session, project, formToken */
  constructor(data) {
    this.base = data.uploads;
    this.session = data.session;
    this.project = data.project;
    this.token = data.formToken;
  }

  /** @param {Record<string, string>} fields @returns {Promise<Plan>} */
  begin(fields) {
    return this.#call(this.base, fields);
  }

  /** @param {string} id @returns {Promise<Plan>} */
  show(id) {
    return this.#call(`${this.base}/${id}`);
  }

  /** @param {string} id @param {number[]} numbers
   * @returns {Promise<{urls: Record<string, string>, expires_in_s: number}>} */
  presign(id, numbers) {
    return this.#call(`${this.base}/${id}/parts`, { numbers: numbers.join(',') });
  }

  /** @param {string} id @param {string} sha256 @returns {Promise<Plan>} */
  complete(id, sha256) {
    return this.#call(`${this.base}/${id}/complete`, { sha256 });
  }

  /** @param {string} id @returns {Promise<Plan>} */
  cancel(id) {
    return this.#call(`${this.base}/${id}/cancel`, {});
  }

  /** After signing in again in another tab: take the new form token. Raises SignedOut, OtherProject. */
  async renew() {
    const session = await this.#call(this.session);
    if (session.project_id !== this.project) throw new OtherProject();
    this.token = session.form_token;
  }

  /** @param {string} path @param {Record<string, string>} [fields] a POST if given */
  async #call(path, fields) {
    const headers = { Accept: 'application/json', 'X-Form-Token': this.token };
    const body = fields && new URLSearchParams(fields);
    let answer;
    try {
      answer = await fetch(path, { method: fields ? 'POST' : 'GET', headers, body, cache: 'no-store' });
    } catch {
      throw new NoAnswer();
    }
    const found = await answer.json().catch(() => ({}));
    if (answer.status === 401 || found.code === 'form_expired') throw new SignedOut();
    if (!answer.ok) throw new Refusal(answer.status, found, answer.headers.get('Retry-After'));
    return found;
  }
}
