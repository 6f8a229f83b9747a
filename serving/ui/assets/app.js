// The page's start: one store, the header, and the route's module in <main>.

import { h, set } from './core/dom.js';
import { keep, kept } from './core/kept.js';
import { go, href, route } from './core/router.js';
import { Store } from './core/store.js';
import { headerPanel, places } from './panels/header.js';
import { helpDialog } from './panels/help.js';
import { signInDialog } from './panels/signin.js';
import overview from './routes/overview.js';
import view from './routes/view.js';
import pipeline from './routes/pipeline.js';
import batch from './routes/batch.js';
import dead from './routes/dead.js';
import sql from './routes/sql.js';

const routes = { overview, views: view, pipeline, batch, dead, sql };
const main = document.getElementById('main');
const spoken = document.getElementById('spoken');

const store = new Store();
const shortcuts = () => kept('keys') !== 'off';
const dialog = helpDialog({ shortcuts, setShortcuts: (on) => keep('keys', on ? 'on' : 'off') });
document.body.append(dialog, signInDialog(store));

const ctx = {
  store,
  toggleTheme: () => window.tailwaterTheme.toggle(),
  showHelp: () => dialog.open || dialog.showModal(),
  announce: (text) => set(spoken, text),
};

headerPanel.mount(document.getElementById('top'), ctx);

let unmount = () => {};
let mounted = '';
route.watch((now) => {
  const module = routes[now.name];
  unmount();
  main.replaceChildren();
  const page = h('div', { class: `page page-${now.name}` });
  main.append(page);
  unmount = module ? module.mount(page, { ...ctx, route: now }) : lost(page, now);
  // The first page keeps the focus where the browser put it.
  if (mounted) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    ctx.announce(module ? module.title(now) : 'no such page');
  }
  mounted = now.name;
});

function lost(page, now) {
  page.append(h('div', { class: 'empty-box' }, h('h3', {}, `There is no page ${now.name}`), h('p', {}, h('a', { href: href('overview') }, 'To the overview'))));
  return () => {};
}

// The skip link must not become a route.
document.querySelector('[data-skip]').addEventListener('click', (e) => {
  e.preventDefault();
  main.focus();
});

// Single keys, unless somebody is writing or has switched them off.
addEventListener('keydown', (e) => {
  const writing = e.target.closest?.('input, textarea, select, [contenteditable]');
  if (writing || e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') || !shortcuts()) return;
  const place = places[Number(e.key) - 1];
  if (e.key === '/') focusSQL();
  else if (e.key === '?') ctx.showHelp();
  else if (e.key === 't') ctx.toggleTheme();
  else if (place) go(href(place[0]));
  else return;
  e.preventDefault();
});

function focusSQL() {
  const focus = () => {
    const editor = document.getElementById('sql');
    editor?.focus();
    editor?.setSelectionRange(editor.value.length, editor.value.length);
  };
  if (route.value.name === 'sql') return focus();
  go(href('sql'));
  addEventListener('hashchange', focus, { once: true });
}

store.start();
