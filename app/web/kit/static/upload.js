/* The form of uploads: choosing and dropping a file, what was left unfinished, and how the sending goes.
   All text of files is set as text. The sending itself: upload_sending.js. */
import { Calls, NoAnswer, Refusal } from './upload_calls.js';
import { UploadMemory } from './upload_memory.js';
import { Sending, digest } from './upload_sending.js';
import { bytesText, secondsText } from './upload_texts.js';

/** @typedef {import('./upload_memory.js').Remembered} Remembered */

const STATES = {
  starting: 'The upload is being created.',
  sending: 'Sending. Leave this page open.',
  digesting: 'All parts are sent. The SHA-256 is still being computed.',
  completing: 'All parts are sent. The object store is joining them.',
  paused: 'Paused. The parts that were sent are kept.',
  waiting: '',
  offline: 'The network is gone. The upload continues when it is back.',
  'signed-out': 'You were signed out; the parts that were sent are kept.',
  elsewhere: 'Another tab is sending this upload. When it is closed, this tab continues.',
  done: 'Uploaded.',
};
const UNDER_WAY = new Set(['starting', 'sending', 'digesting', 'completing', 'waiting', 'offline', 'signed-out']);
const TONES = { paused: 'warn', waiting: 'warn', offline: 'warn', 'signed-out': 'warn', elsewhere: 'warn', stopped: 'bad', failed: 'bad', done: 'good' };

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);
const form = element('upload');
const input = element('file');
const calls = new Calls(form.dataset);
const memory = new UploadMemory(form.dataset.project);
const title = document.title;
/** @type {Sending | null} */
let sending = null;
let state = '';
/** @type {Remembered | null} which unfinished one the next file is meant for */
let wanted = null;

// -- choosing

/** @param {File} file */
async function choose(file) {
  const meant = wanted;
  wanted = null;
  input.value = '';
  complain('');
  if (state && !['failed', 'cancelled', 'refused'].includes(state)) return;
  if (file.size === 0) return complain('The file is empty.');
  const most = Number(form.dataset.maxBytes);
  if (file.size > most) return complain(`The file has ${bytesText(file.size)}; the limit is ${bytesText(most)}.`);
  show('starting');
  let sample;
  try {
    sample = await digest(form.dataset.worker, file, () => {});
  } catch (error) {
    show('');
    if (error instanceof NoAnswer) return complain('The service does not answer. Choose the file again.');
    return complain('The file cannot be read. If it is a folder, pack it as .zip or .tar first.');
  }
  const before = meant ?? memory.list().find((one) => one.name === file.name && isSame(one, file, sample));
  if (before && !isSame(before, file, sample)) {
    show('');
    return complain(difference(before, file));
  }
  await send(file, before ?? null, sample);
}

/** @param {Remembered} before @param {File} file @param {string} sample */
function isSame(before, file, sample) {
  return before.size === file.size && before.lastModified === file.lastModified && before.sample === sample;
}

/** @param {Remembered} before @param {File} file */
function difference(before, file) {
  const what =
    before.size !== file.size
      ? `has ${file.size} bytes, the unfinished one ${before.size}`
      : before.lastModified !== file.lastModified
        ? 'was changed since'
        : 'has other content';
  return `This is not the file of the unfinished upload: it ${what}. Choose that file, or cancel the unfinished upload and choose this one.`;
}

/** @param {string} message shown beside the file; empty: none */
function complain(message) {
  element('file-error').textContent = message;
  element('file-error').hidden = !message;
  if (message) input.setAttribute('aria-invalid', 'true');
  else input.removeAttribute('aria-invalid');
}

function declaredFields() {
  const found = {};
  for (const [name, value] of new FormData(form)) if (name.startsWith('declared.') && value) found[name] = String(value);
  return found;
}

// -- sending

/** @param {File} file @param {Remembered | null} before @param {string} sample */
async function send(file, before, sample) {
  element('sent-name').textContent = file.name;
  element('sent-size').textContent = bytesText(file.size);
  for (const bad of form.querySelectorAll('[data-refused]')) forgive(bad);
  sending = new Sending({ file, calls, workerUrl: form.dataset.worker, onState: show, onFigures: showFigures });
  const fields = { filename: file.name, size_bytes: String(file.size), ...declaredFields() };
  await sending.run(fields, before?.id ?? null, (plan) => {
    const { name, size, lastModified } = file;
    memory.remember({ id: plan.id, name, size, lastModified, sample, begunAt: before?.begunAt ?? Date.now() });
  });
}

/** @param {string} next @param {string} [message] @param {string} [remedy] @param {any} [detail] */
function show(next, message, remedy, detail) {
  state = next;
  if (next === 'cancelled' || next === 'done') memory.forget(sending?.plan?.id ?? '');
  if (next === 'done') location.assign(detail);
  if (next === 'refused') refused(detail);
  const isForm = ['', 'cancelled', 'refused'].includes(next);
  for (const id of ['drop', 'declare']) element(id).hidden = !isForm && next !== 'failed';
  element('sending').hidden = isForm;
  element('sent-state').textContent = message ?? STATES[next] ?? '';
  element('sent-remedy').textContent = remedy ?? (memory.works ? '' : 'This browser stores nothing for this page: after a reload the upload starts from the beginning.');
  element('sent-remedy').hidden = !element('sent-remedy').textContent;
  element('sent-sign-in').hidden = next !== 'signed-out';
  element('sent-notice').className = `notice ${TONES[next] ?? ''}`;
  element('pause').hidden = !['starting', 'sending', 'digesting', 'waiting', 'offline'].includes(next);
  element('resume').hidden = !['paused', 'stopped', 'signed-out', 'waiting'].includes(next);
  element('cancel').hidden = ['completing', 'elsewhere', 'done'].includes(next) || (next === 'failed' && !sending?.plan);
  if (isForm || next === 'failed') showUnfinished();
  else element('unfinished').hidden = true;
  if (isForm) document.title = title;
  showFigures();
}

function showFigures() {
  if (!sending?.plan) {
    element('sent-progress').value = 0;
    element('sent-figures').textContent = element('digest-figures').textContent = '';
    return;
  }
  const { file, sentBytes, digestedBytes, rate, leftS } = sending;
  const share = sentBytes / file.size;
  element('sent-progress').value = share;
  const percent = `${Math.floor(100 * share)} %`;
  const parts = [percent, `${bytesText(sentBytes)} of ${bytesText(file.size)}`];
  if (state === 'sending' && rate.bytesPerS !== null) parts.push(`${bytesText(rate.bytesPerS)}/s`, `${secondsText(leftS)} left`);
  element('sent-figures').textContent = parts.join(' · ');
  element('digest-figures').textContent =
    digestedBytes < file.size ? `SHA-256: ${Math.floor((100 * digestedBytes) / file.size)} % read` : 'SHA-256: computed';
  if (UNDER_WAY.has(state)) document.title = `${percent} ${file.name}`;
}

/** What was filled in cannot be used: said beside the field, or beside the file. @param {Refusal} refusal */
function refused(refusal) {
  const name = refusal.pointer?.match(/^\/declared\/(\w+)/)?.[1];
  const field = name && element(`declared-${name}`);
  if (!field) return complain(`${refusal.message} ${refusal.remedy}`);
  const said = document.createElement('p');
  said.className = 'field-error';
  said.id = `error-${name}`;
  said.textContent = `${refusal.message} ${refusal.remedy} Then choose the file again.`;
  field.after(said);
  field.dataset.refused = said.id;
  field.setAttribute('aria-invalid', 'true');
  field.setAttribute('aria-describedby', `error-${name} help-${name}`);
  element('declare').open = true;
  setTimeout(() => field.focus());
}

/** @param {HTMLElement} field */
function forgive(field) {
  element(field.dataset.refused)?.remove();
  delete field.dataset.refused;
  field.removeAttribute('aria-invalid');
}

// -- what was left unfinished

async function showUnfinished() {
  const list = element('unfinished');
  list.replaceChildren();
  for (const one of memory.list()) if (one.id !== sending?.plan?.id || state === '') list.append(unfinishedItem(one));
  list.hidden = !list.children.length;
}

/** @param {Remembered} one */
function unfinishedItem(one) {
  const item = document.createElement('li');
  item.className = 'notice warn';
  const text = document.createElement('p');
  const name = document.createElement('strong');
  name.textContent = one.name;
  text.append(name, ` (${bytesText(one.size)}) is not finished. `);
  const more = document.createElement('span');
  more.textContent = 'Choose the same file again, and only the missing parts are sent.';
  text.append(more);
  const actions = document.createElement('div');
  actions.className = 'actions';
  const goOn = button('Choose it again', `Choose ${one.name} again`, () => {
    wanted = one;
    input.click();
  });
  const cancel = button('Cancel it', `Cancel the upload of ${one.name}`, async () => {
    await calls.cancel(one.id).catch(() => {});
    memory.forget(one.id);
    await showUnfinished();
  });
  cancel.className = 'danger';
  actions.append(goOn, cancel);
  item.append(text, actions);
  lookAt(one, item, more).catch(() => {});
  return item;
}

/** @param {string} text @param {string} label @param {() => void} pressed */
function button(text, label, pressed) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = text;
  made.setAttribute('aria-label', label);
  made.addEventListener('click', pressed);
  return made;
}

/** How it stands with the service; one that has ended is forgotten.
 * @param {Remembered} one @param {HTMLElement} item @param {HTMLElement} more */
async function lookAt(one, item, more) {
  let plan;
  try {
    plan = await calls.show(one.id);
  } catch (error) {
    if (error instanceof Refusal && !error.isPassing) plan = { state: 'gone' };
    else return;
  }
  if (plan.state === 'open') {
    more.textContent = `${plan.stored.length} of ${plan.num_parts} parts are stored. ${more.textContent}`;
    return;
  }
  memory.forget(one.id);
  item.remove();
  element('unfinished').hidden = !element('unfinished').children.length;
}

// -- what is pressed, dropped, closed

input.addEventListener('change', () => input.files.length && choose(input.files[0]));
input.addEventListener('cancel', () => { wanted = null; });
form.addEventListener('submit', (event) => event.preventDefault());
element('pause').addEventListener('click', () => sending?.pause());
element('resume').addEventListener('click', () => sending?.goOn());
element('cancel').addEventListener('click', async () => {
  try {
    await sending?.cancel();
  } catch (error) {
    show('failed', `It could not be cancelled: ${error.message || 'no answer came'}`, 'Cancel it in the list below, or let it expire.');
  }
});

const drop = element('drop');
let depth = 0;
addEventListener('dragenter', () => drop.classList.toggle('over', (depth += 1) > 0));
addEventListener('dragleave', () => drop.classList.toggle('over', (depth -= 1) > 0));
addEventListener('dragover', (event) => event.preventDefault()); // else the browser opens what is dropped beside it
addEventListener('drop', (event) => {
  event.preventDefault();
  depth = 0;
  drop.classList.remove('over');
  const files = event.dataTransfer?.files ?? [];
  if (files.length > 1) complain('One file at a time. Files that belong together: pack them as .zip or .tar.');
  else if (files.length === 1) choose(files[0]);
});
addEventListener('beforeunload', (event) => UNDER_WAY.has(state) && event.preventDefault());

element('no-script').hidden = true;
form.hidden = false;
if (!memory.works) element('file-help').append(' This browser stores nothing for this page, so after a reload an upload starts from the beginning.');
show('');
