// Buttons that copy the text of a field. Without this script the text is selected and copied by hand.
'use strict';

/**
 * @param {HTMLTextAreaElement} field
 * @returns {Promise<boolean>} whether it lies on the clipboard now
 */
async function copied(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch { // no permission, or the page came over plain http: the older way
    field.select();
    return document.execCommand('copy');
  }
}

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll('button[data-copies]'))) {
  const id = button.dataset.copies ?? '';
  const field = /** @type {HTMLTextAreaElement} */ (document.getElementById(id));
  const said = document.querySelector(`[data-copied="${CSS.escape(id)}"]`);
  button.hidden = false;
  field.addEventListener('focus', () => field.select());
  button.addEventListener('click', async () => {
    const is_copied = await copied(field);
    if (said) said.textContent = is_copied ? 'Copied.' : 'Your browser does not allow copying: select the text and copy it.';
  });
}
