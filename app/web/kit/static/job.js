// @ts-check
'use strict';
/**
 * Keeps the page of a job as the job is. A stream says that something changed; the parts of the page are then
 * fetched, once a second at most, and those that changed are put in place. Where there is no stream (refused,
 * cut off, the service restarts) the page asks by itself until there is one again.
 *
 * A tab that nobody sees holds no stream: browsers open only six connections to a service.
 */

const EVERY_MS = 1000;
const POLL_MS = 3000;
const REOPEN_AFTER_MS = 10_000;
const LONGEST_WAIT_S = 60;

const job = /** @type {HTMLElement} */ (document.getElementById('job'));
const connection = /** @type {HTMLElement} */ (document.getElementById('connection'));

/** Each part as the service sent it last: what a reader opened or focused is no change. @type {Map<string, string>} */
const sent = new Map(parts(job).map((part) => [part.id, part.outerHTML]));

/** @type {EventSource | null} */
let stream = null;
let isGone = false;
let isRefreshing = false;
let isWanted = false;
let refreshedAt = -EVERY_MS;
let triedAt = 0;
/** @type {number | undefined} */
let refreshTimer;
/** @type {number | undefined} */
let pollTimer;

/** @param {ParentNode} parent @returns {HTMLElement[]} */
function parts(parent) {
  return /** @type {HTMLElement[]} */ ([...parent.querySelectorAll('[data-part]')]);
}

/** Whether there is something to wait for. */
function isActive() {
  return !isGone && job.querySelector('[data-active]') !== null;
}

// ---- the parts

/** Fetch soon; however often it is called, once a second. */
function refreshSoon() {
  isWanted = true;
  if (refreshTimer !== undefined || isRefreshing || isGone) return;
  const wait = Math.max(0, refreshedAt + EVERY_MS - performance.now());
  refreshTimer = window.setTimeout(refresh, wait);
}

/** The service has no time for us: not before it says, and no later than in a minute. @param {string | null} seconds */
function refreshAfter(seconds) {
  if (document.hidden) return; // it asks once it is seen
  const wait_s = Math.min(Math.max(Number(seconds) || 1, 1), LONGEST_WAIT_S);
  refreshTimer = window.setTimeout(refresh, wait_s * 1000);
}

async function refresh() {
  refreshTimer = undefined;
  isRefreshing = true;
  isWanted = false;
  refreshedAt = performance.now();
  try {
    const answer = await fetch(job.dataset.live ?? '', {
      headers: { 'HX-Request': 'true' },
      cache: 'no-store',
    });
    const text = await answer.text();
    if (answer.status === 401) return location.reload(); // to the sign-in, and back here
    if (answer.status === 404 || answer.status === 403) return end(text);
    if (answer.status === 429) return refreshAfter(answer.headers.get('Retry-After')); // no poll may be running
    if (!answer.ok) throw new Error(String(answer.status));
    connection.hidden = true;
    show(text);
  } catch {
    connection.hidden = false;
    poll();
  } finally {
    isRefreshing = false;
  }
  if (!isActive()) return close();
  if (isWanted) return refreshSoon();
  if (stream === null) follow();
}

/** @param {string} text the parts, as the service sent them */
function show(text) {
  const fresh = parts(new DOMParser().parseFromString(text, 'text/html'));
  const old = new Map(parts(job).map((part) => [part.id, part]));
  const isSameList = [...old.keys()].join() === fresh.map((part) => part.id).join();
  const focused = document.activeElement;
  const hadFocus = focused !== null && job.contains(focused);
  const placed = fresh.map((part) => {
    const was = old.get(part.id);
    if (was !== undefined && sent.get(part.id) === part.outerHTML) return was;
    sent.set(part.id, part.outerHTML);
    if (was !== undefined) keepOpen(was, part);
    if (was !== undefined && isSameList) was.replaceWith(part);
    return part;
  });
  if (!isSameList) job.replaceChildren(...placed);
  if (hadFocus && !job.contains(document.activeElement)) keepFocus(focused);
  const heading = job.querySelector('h1');
  const state = job.querySelector('.badge');
  if (heading && state && !isActive()) document.title = `${state.textContent}: ${heading.textContent}`;
}

/** @param {HTMLElement} was @param {HTMLElement} part */
function keepOpen(was, part) {
  for (const details of was.querySelectorAll('details[open][id]')) {
    part.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute('open', '');
  }
}

/** To the same control where it is still there, else to the page's heading. @param {Element} focused */
function keepFocus(focused) {
  const form = focused.closest('form');
  const details = focused.closest('details[id]');
  const same =
    (form && job.querySelector(`form[action="${CSS.escape(form.getAttribute('action') ?? '')}"] button`)) ??
    (details && job.querySelector(`#${CSS.escape(details.id)} summary`)) ??
    (focused.isConnected ? focused : job.querySelector('h1'));
  if (same instanceof HTMLElement) same.focus({ preventScroll: true });
}

/** The job is not there any more, or not ours to see. @param {string} text why, as the service says it */
function end(text) {
  isGone = true;
  close();
  connection.hidden = true;
  job.replaceChildren(...new DOMParser().parseFromString(text, 'text/html').body.childNodes);
  const back = document.createElement('a');
  back.href = '/ui/jobs';
  back.textContent = 'Go to the jobs';
  job.append(back);
}

// ---- the stream, and polling while there is none

function follow() {
  if (stream !== null || document.hidden || !isActive()) return;
  if (triedAt && performance.now() - triedAt < REOPEN_AFTER_MS) return poll();
  triedAt = performance.now();
  const opened = new EventSource(job.dataset.stream ?? '');
  stream = opened;
  opened.addEventListener('open', stopPolling);
  opened.addEventListener('job', refreshSoon);
  opened.addEventListener('done', () => {
    opened.close(); // else the browser would come again
    if (stream === opened) stream = null;
    refreshSoon();
  });
  opened.addEventListener('error', () => {
    if (opened.readyState === EventSource.CLOSED && stream === opened) stream = null; // refused
    poll();
  });
}

function poll() {
  if (pollTimer !== undefined || isGone || document.hidden) return;
  pollTimer = window.setInterval(refreshSoon, POLL_MS);
  refreshSoon();
}

function stopPolling() {
  window.clearInterval(pollTimer);
  pollTimer = undefined;
}

function close() {
  stream?.close();
  stream = null;
  triedAt = 0;
  stopPolling();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return close();
  refreshSoon(); // also of a job that had ended: it may have been tried again elsewhere
  follow();
});
window.addEventListener('pagehide', close);
window.addEventListener('pageshow', (event) => {
  if (event.persisted) refreshSoon();
});

follow();
