/* One part to the object store, by a presigned address. XMLHttpRequest, because fetch tells no progress. */

const STALLED_MS = 120_000;

/** The store answered with this status, or (0) did not answer this page. */
export class PutFailed extends Error {
  /** @param {number} status */
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

/**
 * @param {string} url
 * @param {Blob} part read from the disk as it is sent
 * @param {AbortSignal} signal
 * @param {(numBytes: number) => void} onProgress
 * @returns {Promise<void>} raises PutFailed, AbortError
 */
export function put(url, part, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stalled = 0;
    const alive = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALLED_MS);
    };
    const cancelled = () => request.abort();
    const end = (settle) => {
      clearTimeout(stalled);
      signal.removeEventListener('abort', cancelled);
      settle();
    };
    request.upload.onprogress = (event) => {
      alive();
      onProgress(event.loaded);
    };
    request.onload = () =>
      end(() => (request.status >= 200 && request.status < 300 ? resolve() : reject(new PutFailed(request.status))));
    request.onerror = () => end(() => reject(new PutFailed(0)));
    request.onabort = () => end(() => reject(signal.aborted ? signal.reason : new PutFailed(0)));
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    signal.addEventListener('abort', cancelled);
    request.open('PUT', url);
    alive();
    request.send(part);
  });
}

/** Whether the store answers at all, although it does not answer this page: then its CORS rule is wrong.
 * @param {string} url */
export async function isReachable(url) {
  try {
    await fetch(new URL('/', url), { mode: 'no-cors', cache: 'no-store' });
    return true;
  } catch {
    return false;
  }
}
