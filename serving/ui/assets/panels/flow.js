// The pipeline in one picture: from ingest to answers, with the position that
// each layer has reached.

import { Spark } from '../chart/spark.js';
import { h, set } from '../core/dom.js';
import { ago, duration, exact, millis, plural, rate } from '../core/format.js';
import { href } from '../core/router.js';
import { Cleanup } from '../core/signal.js';

export const streamOf = (status, name) => status?.streams.find((s) => s.stream === name);

export const flowPanel = {
  mount(el, { store }) {
    const cleanup = new Cleanup();
    let chosen = null;
    const tabs = h('div', { class: 'tabs', role: 'group', 'aria-label': 'Stream', hidden: true });
    const spark = new Spark({ width: 160, height: 30 });
    const node = (name, mark, title, extra) => {
      const n = { value: h('b', {}, '–'), about: h('span', { class: 'flow-about' }, '\u00a0') };
      n.el = h('div', { class: `flow-node flow-${name}` }, h('span', { class: 'flow-name' }, title, mark && h('abbr', { title: marks[mark] }, mark)), n.value, n.about, extra);
      return n;
    };
    const nodes = {
      ingest: node('ingest', '', 'ingest', spark.el),
      log: node('log', 'H', 'log'),
      speed: node('speed', 'A', 'speed'),
      lake: node('lake', 'L', 'lake'),
      warehouse: node('warehouse', 'S', 'warehouse'),
      answers: node('answers', 'Q', 'answers'),
    };
    const ledger = h('p', { class: 'ledger' });
    const run = h('p', { class: 'ledger' });
    const section = h('section', { class: 'panel', 'aria-labelledby': 'flow-title' },
      h('header', { class: 'panel-head' }, h('h2', { id: 'flow-title' }, h('a', { href: href('pipeline') }, 'Pipeline')), tabs),
      h('div', { class: 'flow' }, Object.values(nodes).map((n) => n.el)),
      h('div', { class: 'flow-foot' }, ledger, run));
    el.append(section);

    const draw = () => {
      const status = store.status.value;
      if (!status) return;
      const names = status.streams.map((s) => s.stream);
      if (!names.includes(chosen)) chosen = names[0];
      drawTabs(tabs, names, chosen, (name) => {
        chosen = name;
        draw();
      });
      const st = streamOf(status, chosen);
      section.classList.toggle('is-empty', !st);
      if (!st) return;
      const received = (s) => streamOf(s, chosen)?.ledger.received ?? 0;
      const perSecond = store.rate(received);
      const behind = (n) => (n > 0 ? `${plural(n, 'message')} behind` : 'level with the log');
      put(nodes.ingest, rate(perSecond), 'events/s');
      put(nodes.log, exact(st.head), 'on disk');
      put(nodes.speed, exact(st.applied), st.lag_messages > 0 ? behind(st.lag_messages) : `${plural(st.tail_events, 'event')} in memory`);
      put(nodes.lake, exact(st.landed), behind(st.head - st.landed));
      put(nodes.warehouse, exact(st.batched), behind(st.head - st.batched));
      put(nodes.answers, duration(st.lag_seconds * 1000).replace('<1 ms', '0 s'), status.ready ? 'behind the log' : 'not yet: catching up');
      nodes.lake.el.classList.toggle('is-bad', Boolean(st.landing_error));
      nodes.lake.el.title = st.landing_error ?? '';
      spark.update(rates(store.trail(received)));
      drawLedger(ledger, st.ledger);
      drawRun(run, store.runs.value[0]);
    };
    cleanup.add(store.status.watch(draw));
    cleanup.add(store.runs.watch(draw));
    cleanup.add(() => section.remove());
    return () => cleanup.run();
  },
};

export const marks = {
  H: 'head of the log: every acknowledged event is at or before it',
  A: 'applied through: how far the speed layer has read',
  L: 'landed through: how far the lake has the events as Parquet',
  S: 'batched through: the cut, how far the warehouse has counted',
  Q: 'answers are given at the position where the speed layer stands',
};

function put(node, value, about) {
  set(node.value, value);
  set(node.about, about);
}

// drawTabs offers a choice of streams, if there is one.
export function drawTabs(el, names, chosen, choose) {
  el.hidden = names.length < 2;
  const drawn = JSON.stringify(names);
  if (el.dataset.drawn !== drawn) {
    el.dataset.drawn = drawn;
    el.replaceChildren(...names.map((name) => h('button', { type: 'button', 'data-name': name, onclick: () => choose(name) }, name)));
  }
  for (const button of el.children) button.setAttribute('aria-pressed', String(button.dataset.name === chosen));
}

// rates turns a growing count into its growth a second.
export function rates(trail) {
  return trail.slice(1).map((p, i) => ({ at: p.at, value: Math.max(0, ((p.value - trail[i].value) * 1000) / Math.max(1, p.at - trail[i].at)) }));
}

export function drawLedger(el, ledger) {
  const adds = ledger.received === ledger.accepted + ledger.refused + ledger.duplicates;
  set(el, `${exact(ledger.received)} received ${adds ? '=' : '≠'} ${exact(ledger.accepted)} accepted + ${exact(ledger.refused)} refused + ${exact(ledger.duplicates)} duplicates`);
  el.classList.toggle('is-bad', !adds);
}

function drawRun(el, run) {
  if (!run) return set(el, 'no batch run yet');
  const took = duration(millis(run.finished) - millis(run.started));
  set(el, run.error ? `last batch run failed ${ago(Date.now() - millis(run.finished))}` : `last batch run ${ago(Date.now() - millis(run.finished))}: ${plural(run.rows, 'row')} in ${took}`);
  el.classList.toggle('is-bad', Boolean(run.error));
}
