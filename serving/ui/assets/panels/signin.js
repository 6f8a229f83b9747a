// Signing in, where the server asks for a key. The key goes to the server once, and
// comes back as a cookie that no script can read: nothing of it is kept here.

import { request } from '../core/api.js';
import { h, set } from '../core/dom.js';
import { keep, kept } from '../core/kept.js';

// signInDialog opens by itself when the server wants a key.
export function signInDialog(store) {
  const key = h('input', { type: 'password', id: 'key', autocomplete: 'current-password', spellcheck: 'false', required: true, 'aria-describedby': 'signin-why' });
  const why = h('p', { id: 'signin-why', role: 'alert' });
  const button = h('button', { class: 'button button-main', type: 'submit' }, 'Sign in');
  const form = h('form', { onsubmit: (e) => { e.preventDefault(); signIn(); } },
    h('label', { for: 'key' }, 'Key'), key, button);
  const dialog = h('dialog', { class: 'help signin', 'aria-labelledby': 'signin-title' },
    h('header', {}, h('h2', { id: 'signin-title' }, 'Tailwater asks for a key')), why, form,
    h('p', { class: 'note' }, 'The page needs a key with the roles query and operate: tailwater key create NAME --role query --role operate'));
  // There is nothing behind it to go back to.
  dialog.addEventListener('cancel', (e) => e.preventDefault());

  async function signIn() {
    button.disabled = true;
    try {
      await request('/v1/session', { method: 'POST', body: { key: key.value.trim() }, timeoutMs: 10000 });
      keep('signed-in', 'yes');
      location.reload();
    } catch (error) {
      set(why, error.message);
      key.select();
    }
    button.disabled = false;
  }

  store.connection.watch(({ state, reason }) => {
    if (state !== 'signed out' || dialog.open) return;
    set(why, reason);
    dialog.showModal();
  });
  return dialog;
}

// signOutButton is there for those who signed in.
export function signOutButton() {
  if (kept('signed-in') !== 'yes') return null;
  return h('button', { class: 'button', type: 'button', onclick: signOut }, 'Sign out');
}

async function signOut() {
  keep('signed-in', '');
  try {
    await request('/v1/session', { method: 'DELETE', timeoutMs: 10000 });
  } catch {
    // The session had ended already.
  }
  location.reload();
}
