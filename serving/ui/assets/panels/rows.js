// The live rows of a view. Rows keep their element: what changed is written in
// place and flashes once.

import { eachFrame, flash, h, set } from '../core/dom.js';
import { compare } from '../core/exact.js';
import { cell, plural } from '../core/format.js';
import { Cleanup } from '../core/signal.js';
import { addUp, summary } from './measures.js';

// A phone shows what is below the rows too.
const firstRows = () => (innerWidth < 700 ? 20 : 100);
const numberType = /INT|DECIMAL|DOUBLE|FLOAT|REAL/;

const classes = (c) => `column-${c.role}${numberType.test(c.type) ? ' right' : ''}`;

export function mountRows(el, { live, view }) {
  const cleanup = new Cleanup();
  const columns = view.columns;
  const order = { column: view.window ? view.startColumn : (columns.find((c) => c.additive) ?? columns[0]).name, down: true };
  let most = firstRows();
  let wanted = '';
  const lines = new Map();

  const heads = columns.map((c) => {
    const button = h('button', { type: 'button', onclick: () => sortBy(c.name) }, c.name);
    return h('th', { scope: 'col', class: classes(c), title: c.type }, button);
  });
  const filter = h('input', { class: 'input', type: 'search', placeholder: 'filter rows', 'aria-label': 'filter rows', oninput: () => {
    wanted = filter.value.trim().toLowerCase();
    ask();
  } });
  const count = h('span', { class: 'note' });
  const body = h('tbody');
  const more = h('button', { class: 'button', type: 'button', onclick: () => {
    most += 400;
    ask();
  } }, 'Show more');
  const section = h('section', { class: 'panel after', 'aria-labelledby': 'rows-title' },
    h('header', { class: 'panel-head' }, h('h2', { id: 'rows-title' }, 'Rows'), count, filter),
    h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': `rows of ${view.view}` }, h('table', { class: 'table' }, h('thead', {}, h('tr', {}, heads)), body)),
    more);
  el.append(section);

  function sortBy(name) {
    order.down = order.column === name ? !order.down : numberType.test(columns.find((c) => c.name === name).type);
    order.column = name;
    ask();
  }

  function line(entry) {
    const row = lines.get(entry.key);
    if (row) return row;
    const cells = columns.map((c) => {
      const value = h('span');
      const split = c.additive && h('span', { class: 'split', 'aria-hidden': 'true' }, h('i', { class: 'part-batch' }), h('i', { class: 'part-speed' }));
      return { value, split, td: h('td', { class: classes(c) }, value, split) };
    });
    const made = { cells, entry: null, tr: h('tr', {}, cells.map((c) => c.td)) };
    lines.set(entry.key, made);
    return made;
  }

  function write(made, entry) {
    if (made.entry === entry) return;
    const before = made.entry;
    made.entry = entry;
    for (const [i, c] of columns.entries()) {
      const shown = cell(entry.row[c.name], c.type);
      const { value, split, td } = made.cells[i];
      if (before && value.textContent !== shown.text) flash(td);
      set(value, shown.text);
      value.className = `cell-${shown.kind}`;
      td.title = shown.title ?? '';
      if (!split) continue;
      split.hidden = live.limited;
      if (live.limited) continue;
      const sums = addUp([entry], { ...c, kind: 'sum', label: c.name });
      td.title = summary(sums, { ...c, label: c.name });
      const share = Math.max(0, Math.min(100, (100 * Number(sums.batch)) / (Number(sums.total) || 1)));
      split.firstChild.style.width = `${share}%`;
      split.lastChild.style.width = `${Number(sums.total) ? 100 - share : 0}%`;
    }
  }

  function draw() {
    const all = [...live.rows.values()];
    const found = wanted ? all.filter((e) => columns.some((c) => cell(e.row[c.name], c.type).text.toLowerCase().includes(wanted))) : all;
    const sign = order.down ? -1 : 1;
    const by = (name, a, b) => compare(a.row[name], b.row[name]);
    found.sort((a, b) => sign * by(order.column, a, b) || (a.key < b.key ? -1 : 1));
    const shown = found.slice(0, most);
    const kept = new Set();
    for (const [i, entry] of shown.entries()) {
      kept.add(entry.key);
      const made = line(entry);
      write(made, entry);
      if (body.children[i] !== made.tr) body.insertBefore(made.tr, body.children[i] ?? null);
    }
    for (const [key, made] of lines) {
      if (kept.has(key)) continue;
      made.tr.remove();
      lines.delete(key);
    }
    for (const [i, c] of columns.entries()) {
      if (c.name === order.column) heads[i].setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
      else heads[i].removeAttribute('aria-sort');
    }
    set(count, !live.loaded ? '' : `${plural(found.length, 'row')}${shown.length < found.length ? `, ${shown.length} shown` : ''}`);
    more.hidden = shown.length === found.length;
  }

  const ask = eachFrame(draw);
  cleanup.add(live.watch(ask));
  cleanup.add(() => ask.cancel());
  cleanup.add(() => section.remove());
  draw();
  return () => cleanup.run();
}
