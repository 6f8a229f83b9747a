// Batch runs: each moves the cut.

import { h, set } from '../core/dom.js';
import { duration, exact, millis, positions, when } from '../core/format.js';
import { Cleanup } from '../core/signal.js';
import { problemBox } from '../panels/result.js';

export default {
  title: () => 'Batch',
  mount(el, { store, announce }) {
    const cleanup = new Cleanup();
    const button = h('button', { class: 'button button-main', type: 'button', onclick: run }, 'Run now');
    const problem = h('div');
    const body = h('tbody');
    const empty = h('p', { class: 'empty', hidden: true }, 'No batch run yet. The first one comes by schedule, or now if you ask for it.');
    el.append(
      h('header', { class: 'page-head' }, h('h1', {}, 'Batch runs'), button,
        h('p', { class: 'page-about' }, 'A run counts what has landed since the last one into the warehouse and moves the cut S, in one transaction. Runs on schedule that found nothing new are not listed.')),
      problem,
      h('section', { class: 'panel', 'aria-label': 'runs' },
        h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'batch runs' },
          h('table', { class: 'table table-still' },
            h('thead', {}, h('tr', {}, [['run', 'right'], ['started', ''], ['trigger', ''], ['status', ''], ['rows', 'right'], ['took', 'right'], ['', ''], ['views', ''], ['through', '']].map(([t, c]) => h('th', { scope: 'col', class: c }, t)))),
            body)), empty));

    async function run() {
      button.disabled = true;
      set(button, 'Running…');
      problem.replaceChildren();
      try {
        const done = await store.runBatch();
        announce(`Batch run ${done.status}: ${done.rows} rows`);
      } catch (error) {
        problem.append(problemBox(error));
      }
      set(button, 'Run now');
      button.disabled = false;
    }

    cleanup.add(store.runs.watch((runs) => {
      empty.hidden = runs.length > 0;
      const longest = Math.max(...runs.map(took).filter(Number.isFinite), 1);
      body.replaceChildren(...runs.map((r) => row(r, longest)));
    }));
    cleanup.every(5000, () => store.connection.value.state === 'ready' && store.refreshRuns());
    return () => {
      cleanup.run();
      el.replaceChildren();
    };
  },
};

const took = (r) => millis(r.finished) - millis(r.started);

function row(r, longest) {
  const ms = took(r);
  const bar = h('i', { class: 'part-batch' });
  bar.style.width = `${Number.isFinite(ms) ? Math.max(1, (100 * ms) / longest) : 0}%`;
  const failed = Boolean(r.error);
  return h('tr', {},
    h('td', { class: 'right' }, exact(r.id)),
    h('td', {}, when(r.started)),
    h('td', {}, r.rebuild ? `${r.trigger}, rebuild` : r.trigger),
    h('td', { class: failed ? 'is-bad' : '' }, failed ? [h('b', {}, r.status), ` ${r.error}`] : r.status),
    h('td', { class: 'right' }, exact(r.rows)),
    h('td', { class: 'right' }, duration(ms)),
    h('td', { class: 'took-cell' }, h('span', { class: 'split', 'aria-hidden': 'true' }, bar)),
    h('td', { class: 'dim' }, (r.views ?? []).join(', ') || '—'),
    h('td', { class: 'dim' }, r.through ? positions(r.through) : '—'));
}
