// The difference of one view, and the button that proves it now.

import { h, set } from '../core/dom.js';
import { ago, duration, exact, plural, positions } from '../core/format.js';
import { Cleanup } from '../core/signal.js';
import { differingRows } from './difference.js';

export function mountProof(el, { store, announce }, view) {
  const cleanup = new Cleanup();
  const number = h('output', { class: 'difference-number' });
  const text = h('p', { class: 'difference-text' });
  const cut = h('p', { class: 'difference-cut' });
  const problem = h('p', { class: 'problem', role: 'status' });
  const rows = h('div');
  const button = h('button', { class: 'button', type: 'button', onclick: check }, 'Check now');
  const section = h('section', { class: 'panel difference difference-small', 'aria-labelledby': 'proof-title' },
    h('header', { class: 'panel-head' }, h('h2', { id: 'proof-title' }, 'Difference'), button),
    number, text, cut, problem, rows);
  el.append(section);

  async function check() {
    try {
      const answer = await store.checks.check(view.view);
      announce(`Difference of ${view.view}: ${answer.difference}`);
    } catch {
      // The panel shows what the store keeps of it.
    }
  }

  const draw = () => {
    const r = store.checks.results.get(view.view);
    const proven = Boolean(r?.provenAt);
    const lost = store.connection.value.state !== 'ready';
    section.dataset.tone = !proven ? 'unknown' : r.difference > 0 ? 'bad' : lost ? 'stale' : 'good';
    set(number, proven ? exact(r.difference) : '–');
    set(text, proven ? `${plural(r.rows, 'row')} compared ${ago(Date.now() - r.provenAt)}, in ${duration(r.elapsed_ms)}` : 'not proven yet');
    set(cut, proven ? `at ${positions(r.cut)}` : '');
    set(problem, r?.error && !r.error.unreachable ? `${r.error.message}${r.error.hint ? ` — ${r.error.hint}` : ''}` : '');
    set(button, r?.running ? 'Checking…' : 'Check now');
    button.disabled = Boolean(r?.running) || lost;
    const bad = proven && r.difference > 0 ? String(r.provenAt) : '';
    if (rows.dataset.drawn !== bad) {
      rows.dataset.drawn = bad;
      rows.replaceChildren(...(bad ? [differingRows(r)] : []));
    }
  };
  cleanup.add(store.checks.changed.watch(draw));
  cleanup.add(store.connection.watch(draw));
  cleanup.every(1000, draw);
  cleanup.add(() => section.remove());
  return () => cleanup.run();
}
