// A view on the overview: its picture, and whether it has been proven.

import { h, set } from '../core/dom.js';
import { ago, exact } from '../core/format.js';
import { href } from '../core/router.js';
import { Cleanup } from '../core/signal.js';
import { isSingle } from './measures.js';
import { mountPlot } from './plot.js';

export function mountCard(el, { store }, view) {
  const cleanup = new Cleanup();
  const proof = h('span', { class: 'proof' });
  const body = h('div', { class: 'card-body' });
  const card = h('article', { class: isSingle(view) ? 'card card-figures' : 'card', 'aria-labelledby': `card-${view.view}` },
    h('header', { class: 'card-head' },
      h('h3', { id: `card-${view.view}` }, h('a', { href: href('views', view.view) }, view.view)),
      proof,
      view.description && h('p', { class: 'card-about' }, view.description)),
    body);
  el.append(card);

  const live = store.live.open(view, { windows: 60 });
  cleanup.add(() => live.close());
  cleanup.add(mountPlot(body, { live, view }));

  // Out of sight, out of the connections.
  const sight = new IntersectionObserver((entries) => live.want(entries.at(-1).isIntersecting), { rootMargin: '200px' });
  sight.observe(card);
  cleanup.add(() => sight.disconnect());

  const showProof = () => {
    const r = store.checks.results.get(view.view);
    const differs = r?.provenAt && r.difference > 0;
    proof.className = `proof ${differs ? 'proof-bad' : ''}`;
    set(proof, !r?.provenAt ? (r?.error ? 'not proven' : '') : differs ? `difference ${exact(r.difference)}` : `0 · ${ago(Date.now() - r.provenAt)}`);
    proof.title = r?.provenAt ? 'difference from the same SQL over the raw events' : (r?.error?.message ?? '');
  };
  cleanup.add(store.checks.changed.watch(showProof));
  cleanup.every(1000, showProof);
  cleanup.add(() => card.remove());
  return () => cleanup.run();
}
