// How far every layer is: a ruler a stream, and what the speed layer holds a view.

import { Spark } from '../chart/spark.js';
import { h, set } from '../core/dom.js';
import { duration, exact, plural, rate, when } from '../core/format.js';
import { href } from '../core/router.js';
import { Cleanup } from '../core/signal.js';
import { drawLedger, rates, streamOf } from '../panels/flow.js';
import { Ruler } from '../panels/ruler.js';

export default {
  title: () => 'Pipeline',
  mount(el, { store }) {
    const cleanup = new Cleanup();
    const streams = new Map();
    const views = new Map();
    const box = h('div', { class: 'column' });
    const memory = h('tbody');
    const about = h('p', { class: 'page-about' });
    el.append(
      h('header', { class: 'page-head' }, h('h1', {}, 'Pipeline'), about),
      box,
      h('section', { class: 'panel', 'aria-labelledby': 'memory-title' },
        h('header', { class: 'panel-head' }, h('h2', { id: 'memory-title' }, 'Held in memory, by view'), h('span', { class: 'note' }, 'each batch run empties it')),
        h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'memory of each view' }, h('table', { class: 'table table-still' },
          h('thead', {}, h('tr', {}, ['view', 'stream', 'batched S', 'applied A', 'rows', 'pieces', 'last 3 minutes', 'coverage'].map((t, i) => h('th', { scope: 'col', class: i >= 2 && i <= 5 ? 'right' : '' }, t)))),
          memory))));

    cleanup.add(store.status.watch((status) => {
      if (!status) return;
      set(about, `version ${status.version}, up for ${duration(status.uptime_seconds * 1000)}`);
      for (const st of status.streams) {
        if (!streams.has(st.stream)) streams.set(st.stream, new StreamPanel(box, st.stream));
        streams.get(st.stream).update(st, store);
      }
      for (const v of status.views) {
        if (!views.has(v.view)) views.set(v.view, new MemoryRow(memory, v.view));
        views.get(v.view).update(v, store);
      }
    }));
    return () => {
      cleanup.run();
      el.replaceChildren();
    };
  },
};

class StreamPanel {
  constructor(el, stream) {
    this.stream = stream;
    this.ruler = new Ruler(stream);
    this.spark = new Spark({ width: 300, height: 36, seconds: 180 });
    this.facts = ['events/s', 'messages/s', 'behind the log', 'watermark', 'in memory after L', 'epoch'].map((label) => ({ label, value: h('dd', {}) }));
    this.ledger = h('p', { class: 'ledger' });
    this.trouble = h('p', { class: 'problem' });
    el.append(h('section', { class: 'panel', 'aria-label': `stream ${stream}` },
      h('header', { class: 'panel-head' }, h('h2', {}, stream), this.spark.el),
      this.ruler.el,
      h('dl', { class: 'facts' }, this.facts.map((f) => h('div', {}, h('dt', {}, f.label), f.value))),
      this.ledger, this.trouble));
  }

  update(st, store) {
    const received = (s) => streamOf(s, this.stream)?.ledger.received ?? 0;
    const head = (s) => streamOf(s, this.stream)?.head ?? 0;
    this.ruler.update(st);
    this.spark.update(rates(store.trail(received)));
    const values = [
      rate(store.rate(received)), rate(store.rate(head)),
      st.lag_messages > 0 ? `${plural(st.lag_messages, 'message')}, ${duration(st.lag_seconds * 1000)}` : 'nothing',
      st.watermark ? when(st.watermark) : '—', plural(st.tail_events, 'event'), exact(st.epoch),
    ];
    for (const [i, f] of this.facts.entries()) set(f.value, values[i]);
    drawLedger(this.ledger, st.ledger);
    const lost = st.lost?.length ? `Lost from the log before it was applied: ${JSON.stringify(st.lost)}. ` : '';
    set(this.trouble, lost + (st.landing_error ? `Landing fails: ${st.landing_error}` : ''));
  }
}

class MemoryRow {
  constructor(el, view) {
    this.view = view;
    this.cells = [0, 1, 2, 3, 4, 5].map((i) => h('td', { class: i >= 1 && i <= 4 ? 'right' : '' }));
    this.spark = new Spark({ width: 180, height: 24, seconds: 180 });
    el.append(h('tr', {}, h('th', { scope: 'row' }, h('a', { href: href('views', view) }, view)), this.cells.slice(0, 5), h('td', { class: 'spark-cell' }, this.spark.el), this.cells[5]));
  }

  update(v, store) {
    const values = [v.stream, exact(v.batched), exact(v.applied), exact(v.speed_rows), exact(v.speed_pieces), v.complete ? 'complete' : 'a hole: the next batch run closes it'];
    for (const [i, cell] of this.cells.entries()) set(cell, values[i]);
    this.cells[5].classList.toggle('is-bad', !v.complete);
    this.spark.update(store.trail((s) => s.views.find((x) => x.view === this.view)?.speed_rows ?? 0));
  }
}
