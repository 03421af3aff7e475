'use strict';
/* An image for a trigger is chosen as a file: its bytes go into the field beside it, in base64. */

const MOST_BYTES = 64 * 1024;

/**
 * @param {Blob} file
 * @returns {Promise<string>} as data:…;base64,…
 */
function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/**
 * @param {HTMLElement} field
 * @param {HTMLTextAreaElement} area
 */
function offerFile(field, area) {
  const label = document.createElement('label');
  const input = document.createElement('input');
  const said = document.createElement('p');
  const shown = document.createElement('img');
  input.type = 'file';
  input.accept = 'image/png,image/jpeg';
  input.id = `${area.id}-file`;
  label.htmlFor = input.id;
  label.textContent = 'Choose an image';
  said.className = 'help';
  said.setAttribute('role', 'status');
  shown.alt = 'The image chosen';
  shown.className = 'chosen';
  shown.hidden = true;
  field.prepend(label, input, said, shown);
  input.addEventListener('change', async () => {
    const file = input.files?.[0];
    if (!file) return;
    if (file.size > MOST_BYTES) {
      said.textContent = `The file has ${file.size} bytes; at most ${MOST_BYTES} are allowed. Choose a smaller one.`;
      input.value = '';
      return;
    }
    const url = await dataUrl(file);
    area.value = url.slice(url.indexOf(',') + 1);
    said.textContent = `${file.name}: ${file.size} bytes.`;
    shown.src = url;
    shown.hidden = false;
  });
}

for (const field of document.querySelectorAll('[data-image]')) {
  const area = document.getElementById(field.getAttribute('data-image') ?? '');
  if (field instanceof HTMLElement && area instanceof HTMLTextAreaElement) offerFile(field, area);
}
