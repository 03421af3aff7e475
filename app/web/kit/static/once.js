// Forms that are answered by a secret: a second click would replace the answer to the first, and the secret with it.
'use strict';

for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll('form[data-once]'))) {
  let is_sent = false;
  form.addEventListener('submit', (event) => {
    if (is_sent) event.preventDefault();
    is_sent = true;
  });
}
// Whoever comes back gets a form that can be sent.
window.addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
