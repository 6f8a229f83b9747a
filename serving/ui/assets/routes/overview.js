// The overview: the difference, the pipeline, and every view alive.

import { h } from '../core/dom.js';
import { Cleanup } from '../core/signal.js';
import { mountCard } from '../panels/card.js';
import { differencePanel } from '../panels/difference.js';
import { isSingle } from '../panels/measures.js';
import { flowPanel } from '../panels/flow.js';

export default {
  title: () => 'Overview',
  mount(el, ctx) {
    const cleanup = new Cleanup();
    el.append(h('h1', { class: 'visually-hidden' }, 'Overview'));
    cleanup.add(differencePanel.mount(el, ctx));
    cleanup.add(flowPanel.mount(el, ctx));
    const grid = h('div', { class: 'cards' });
    const section = h('section', { 'aria-labelledby': 'views-title' }, h('h2', { id: 'views-title', class: 'visually-hidden' }, 'Views'), grid);
    el.append(section);
    cleanup.add(() => section.remove());

    let cards = new Cleanup();
    cleanup.add(() => cards.run());
    cleanup.add(ctx.store.views.watch((views) => {
      cards.run();
      cards = new Cleanup();
      grid.replaceChildren();
      if (views?.length === 0) grid.append(noViews());
      // Figures are one line high: they come first, over the whole width.
      const ordered = [...(views ?? [])].sort((a, b) => isSingle(b) - isSingle(a));
      for (const view of ordered) cards.add(mountCard(grid, ctx, view));
    }));
    return () => {
      cleanup.run();
      el.replaceChildren();
    };
  },
};

export function noViews() {
  return h('div', { class: 'empty-box' },
    h('h3', {}, 'No views yet'),
    h('p', {}, 'A view is one SELECT in a file of the project, such as ', h('code', {}, 'views/hourly.sql'), ':'),
    h('pre', {}, "SELECT window_start, count(*) AS events\nFROM my_stream\nGROUP BY tumble(ts, INTERVAL '1 hour')"));
}
