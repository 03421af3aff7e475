/* A worker thread: SHA-256 of a file, whole or of samples. WebCrypto cannot hash what comes piece by piece,
   so the arithmetic is @noble/hashes (vendor/LICENSES.txt). One slice is hashed while the next is
   read. */
import { sha256 } from './vendor/noble-hashes-2.4.0/sha2.js';

const SLICE_BYTES = 4 * 1024 * 1024;
const SAMPLE_BYTES = 64 * 1024;
const NUM_SAMPLES = 16;

/** @param {Uint8Array} bytes @returns {string} */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Blob} part @returns {Promise<Uint8Array>} */
async function read(part) {
  return new Uint8Array(await part.arrayBuffer());
}

/** Of every byte. @param {File} file @returns {Promise<string>} */
async function digestOf(file) {
  const hash = sha256.create();
  const slice = (start) => read(file.slice(start, start + SLICE_BYTES));
  let next = slice(0);
  for (let end = SLICE_BYTES; ; end += SLICE_BYTES) {
    const bytes = await next;
    if (end < file.size) (next = slice(end)).catch(() => {}); // it is waited for in the next round
    hash.update(bytes);
    postMessage({ numBytes: Math.min(end, file.size) });
    if (end >= file.size) break;
  }
  return hex(hash.digest());
}

/** Of the first and the last bytes and some between: tells quickly whether a file is the one that was begun.
 * @param {File} file @returns {Promise<string>} */
async function sampleOf(file) {
  const hash = sha256.create();
  const last = Math.max(0, file.size - SAMPLE_BYTES);
  for (let index = 0; index <= NUM_SAMPLES; index += 1) {
    const start = Math.floor((last * index) / NUM_SAMPLES);
    hash.update(await read(file.slice(start, start + SAMPLE_BYTES)));
  }
  return hex(hash.digest());
}

addEventListener('message', async (event) => {
  const { file, isSample } = event.data;
  try {
    postMessage({ sha256: await (isSample ? sampleOf(file) : digestOf(file)) });
  } catch (error) {
    postMessage({ failed: String(error) });
  }
});
