// The bar at the top: where one is, how the server is, and the difference in short.

import { h, set } from '../core/dom.js';
import { ago } from '../core/format.js';
import { href, route } from '../core/router.js';
import { Cleanup } from '../core/signal.js';
import { words } from './difference.js';

export const places = [
  ['overview', 'Overview'],
  ['views', 'Views'],
  ['pipeline', 'Pipeline'],
  ['batch', 'Batch'],
  ['dead', 'Dead letters'],
  ['sql', 'SQL'],
];

const states = {
  connecting: 'connecting',
  starting: 'starting',
  'catching up': 'catching up',
  ready: 'ready',
  lost: 'connection lost — reconnecting',
  'signed out': 'signed out',
};

export const headerPanel = {
  mount(el, { store, toggleTheme, showHelp }) {
    const cleanup = new Cleanup();
    const links = places.map(([name, label], i) => h('a', { href: href(name), 'data-place': name, title: `${label} (${i + 1})` }, label));
    const state = h('span', { class: 'state' });
    const number = h('b', {});
    const difference = h('a', { class: 'pill', href: href('overview') }, 'difference ', number);
    const banner = h('div', { class: 'banner', hidden: true });
    const spoken = h('p', { class: 'visually-hidden', 'aria-live': 'polite', 'data-spoken': '' });
    el.append(
      h('div', { class: 'bar' },
        h('a', { class: 'brand', href: href('overview'), 'aria-label': 'Tailwater, overview' }, mark(), h('span', {}, 'Tailwater')),
        h('nav', { 'aria-label': 'Pages' }, links),
        h('div', { class: 'bar-end' },
          difference, state,
          h('button', { class: 'icon', type: 'button', 'aria-label': 'Light or dark (t)', title: 'Light or dark (t)', onclick: toggleTheme }, icon('theme')),
          h('button', { class: 'icon', type: 'button', 'aria-label': 'Help (?)', title: 'Help (?)', onclick: showHelp }, '?'))),
      banner, spoken);

    const draw = () => {
      const connection = store.connection.value;
      const said = words(store.checks.total(), connection);
      state.dataset.state = connection.state;
      set(state, states[connection.state]);
      state.title = connection.reason;
      difference.dataset.tone = said.tone;
      difference.title = said.text;
      set(number, said.number);
      drawBanner(banner, connection, store);
      document.body.dataset.connection = connection.state === 'lost' ? 'lost' : 'there';
      document.title = `${said.tone === 'unknown' ? '' : `${said.number} · `}Tailwater`;
      // Said when it changes, not each second.
      const tone = { good: 'proven', partial: 'so far', stale: 'last known', bad: 'the views are wrong', unknown: 'not proven yet' }[said.tone];
      set(spoken, `Difference ${said.number}, ${tone}. Server ${states[connection.state]}.`);
    };
    cleanup.add(store.connection.watch(draw));
    cleanup.add(store.checks.changed.watch(draw));
    cleanup.every(1000, draw);
    cleanup.add(route.watch(({ name }) => {
      for (const a of links) {
        if (a.dataset.place === name) a.setAttribute('aria-current', 'page');
        else a.removeAttribute('aria-current');
      }
      document.body.dataset.route = name;
    }));
    return () => cleanup.run();
  },
};

function drawBanner(el, connection, store) {
  el.hidden = ['ready', 'connecting', 'signed out'].includes(connection.state);
  if (el.hidden) return;
  el.dataset.state = connection.state;
  const since = ago(Date.now() - connection.since);
  const text = connection.state === 'lost'
    ? `Connection lost ${since}. What you see is the last known state; the page reconnects by itself.`
    : `The server is ${connection.state}${connection.reason ? `: ${connection.reason}` : ''}. Answers begin when it has caught up with its log.`;
  if (!el.firstChild) {
    el.append(h('p', {}), h('button', { class: 'button', type: 'button', onclick: () => store.retry() }, 'Try now'));
  }
  set(el.firstChild, text);
  el.lastChild.hidden = connection.state !== 'lost';
}

const parsed = (svg) => new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement;

// Two waters that meet: the still one below, the running one above.
function mark() {
  return parsed(`<svg xmlns="http://www.w3.org/2000/svg" class="mark" viewBox="0 0 24 24" aria-hidden="true">
    <path class="mark-batch" d="M2 14c3.300 0 3.300-2 6.700-2s3.300 2 6.600 2 3.400-2 6.700-2v6a4 4 0 0 1-4 4H6a4 4 0 0 1-4-4z"/>
    <path class="mark-speed" d="M2 9.500c3.300 0 3.300-2 6.700-2s3.300 2 6.600 2 3.400-2 6.700-2V6a4 4 0 0 0-4-4H6a4 4 0 0 0-4 4z"/></svg>`);
}

function icon() {
  return parsed(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" aria-hidden="true">
    <circle cx="10" cy="10" r="6.250" fill="none" stroke="currentColor" stroke-width="1.500"/><path d="M10 3.750a6.250 6.250 0 0 1 0 12.500z" fill="currentColor"/></svg>`);
}
