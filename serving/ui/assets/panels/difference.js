// The difference: one number for the whole project, and the proofs behind it.

import { attributes, h, s, set } from '../core/dom.js';
import { ago, exact, json, positions } from '../core/format.js';
import { href } from '../core/router.js';
import { Cleanup } from '../core/signal.js';

const trailMs = 120000;

// words say what the number is worth: {number, tone, stamp, text}. The tone is
// 'good', 'partial', 'stale', 'unknown' or 'bad'.
export function words(total, connection, now = Date.now()) {
  if (total.difference === null) {
    const why = connection.state === 'ready' ? (total.views ? 'the first check is running' : 'there is no view to check') : connection.state;
    return { number: '–', tone: 'unknown', stamp: '', text: `Not proven yet: ${why}.` };
  }
  const number = exact(total.difference);
  if (total.difference > 0) {
    return { number, tone: 'bad', stamp: total.stale ? 'last known' : '', text: 'The views and the raw events disagree. The rows are below.' };
  }
  if (total.stale) {
    return { number, tone: 'stale', stamp: 'last known', text: `Last proven ${ago(now - total.newest.provenAt)}; it is proven again as soon as the server answers.` };
  }
  if (total.proven < total.views) {
    return { number, tone: 'partial', stamp: 'so far', text: `${total.proven} of ${total.views} views proven so far.` };
  }
  const age = ago(now - total.oldestAt).replace(' ago', '').replace('just now', 'second');
  return { number, tone: 'good', stamp: '', text: `${total.views === 1 ? 'The view' : `All ${total.views} views`} proven within the last ${age}.` };
}

export const differencePanel = {
  mount(el, { store }) {
    const cleanup = new Cleanup();
    const number = h('output', { class: 'difference-number', 'data-difference': '' });
    const stamp = h('span', { class: 'difference-stamp' });
    const text = h('p', { class: 'difference-text' });
    const cut = h('p', { class: 'difference-cut' });
    const proofs = h('div', { class: 'proofs' });
    const rows = h('div', { class: 'difference-rows' });
    const section = h('section', { class: 'difference', 'aria-labelledby': 'difference-title' },
      h('div', { class: 'difference-main' },
        h('h2', { id: 'difference-title', class: 'eyebrow' }, 'difference', stamp), number),
      h('div', { class: 'difference-side' },
        h('p', { class: 'difference-about' }, 'Rows in which the live views differ from the same SQL over every raw event, compared at one cut of the log.'),
        text, cut, proofs),
      rows);
    el.append(section);

    const lines = new Map();
    const draw = () => {
      const now = Date.now();
      const total = store.checks.total(now);
      const said = words(total, store.connection.value, now);
      section.dataset.tone = said.tone;
      set(number, said.number);
      set(stamp, said.stamp);
      set(text, said.text);
      set(cut, total.newest ? `${total.newest.view} at ${positions(total.newest.cut)}` : '');
      drawProofs(proofs, lines, store, now);
      drawRows(rows, store);
    };
    cleanup.add(store.checks.changed.watch(draw));
    cleanup.add(store.connection.watch(draw));
    cleanup.add(store.views.watch(draw));
    cleanup.every(1000, draw);
    cleanup.add(() => section.remove());
    return () => cleanup.run();
  },
};

function drawProofs(el, lines, store, now) {
  const views = store.views.value ?? [];
  for (const view of views) {
    let line = lines.get(view.view);
    if (!line) {
      line = { difference: h('b', {}), rows: h('span', { class: 'proof-rows' }), age: h('span', { class: 'proof-age' }), trail: s('svg', { class: 'trail', viewBox: '0 0 240 16', preserveAspectRatio: 'none', 'aria-hidden': 'true' }) };
      line.el = h('div', { class: 'proof-line' }, h('a', { href: href('views', view.view) }, view.view), line.trail, line.difference, line.rows, line.age);
      lines.set(view.view, line);
      el.append(line.el);
    }
    const r = store.checks.results.get(view.view);
    set(line.difference, r?.provenAt ? exact(r.difference) : '—');
    line.el.classList.toggle('is-bad', Boolean(r?.provenAt && r.difference > 0));
    set(line.rows, r?.provenAt ? `${exact(r.rows)} ${r.rows === 1 ? 'row' : 'rows'}` : '');
    set(line.age, r?.running && !r.provenAt ? 'checking' : r?.error && !r.error.unreachable && !r.error.notReady ? r.error.code.replace('_', ' ') : r?.provenAt ? ago(now - r.provenAt) : '');
    line.age.title = r?.error?.message ?? '';
    drawTrail(line.trail, store.checks.proofs.filter((p) => p.view === view.view), now);
  }
  for (const [name, line] of lines) {
    if (views.some((v) => v.view === name)) continue;
    line.el.remove();
    lines.delete(name);
  }
}

// drawTrail marks each proof of the last minutes; a gap is a time without a server.
function drawTrail(svg, proofs, now) {
  const ticks = proofs.filter((p) => now - p.at < trailMs);
  while (svg.children.length > ticks.length) svg.lastChild.remove();
  while (svg.children.length < ticks.length) svg.append(s('line', { y1: 3, y2: 13 }));
  for (const [i, p] of ticks.entries()) {
    const x = (239 * (1 - (now - p.at) / trailMs)).toFixed(1);
    attributes(svg.children[i], { x1: x, x2: x, class: p.difference > 0 ? 'trail-bad' : 'trail-good' });
  }
}

function drawRows(el, store) {
  const bad = [...store.checks.results.values()].filter((r) => r.provenAt && r.difference > 0);
  el.hidden = bad.length === 0;
  const seen = JSON.stringify(bad.map((r) => [r.view, r.provenAt]));
  if (el.dataset.seen === seen) return;
  el.dataset.seen = seen;
  el.replaceChildren(...bad.map(differingRows));
}

// differingRows lists what a check found: rows that only one side has.
export function differingRows(r) {
  const list = (rows, sign, about) => rows.map((row) => h('li', {}, h('b', { title: about }, sign), h('code', {}, json(row))));
  return h('div', { class: 'differing' },
    h('p', {}, h('b', {}, r.view), ` differs in ${exact(r.difference)} ${r.difference === 1 ? 'row' : 'rows'} at ${positions(r.cut)}. − is missing in the view, + is only there.`),
    h('ul', {}, list(r.missing, '−', 'missing in the view'), list(r.extra, '+', 'only in the view')));
}
