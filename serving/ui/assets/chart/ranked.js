// Ranked bars for views without a window, and plain figures for those without keys.

import { h, set } from '../core/dom.js';

// A RankedBars shows the first rows of a list, its bars to one scale.
export class RankedBars {
  #lines = new Map();

  constructor({ label, most = 8 }) {
    this.most = most;
    this.list = h('ol', { class: 'ranked', 'aria-label': label });
    this.rest = h('p', { class: 'note' });
    this.el = h('div', { class: 'ranked-box' }, this.list, this.rest);
  }

  // update takes [{key, label, batch, total, text, title}] by rank; batch null:
  // the parts cannot be told apart.
  update(rows) {
    const shown = rows.slice(0, this.most);
    const longest = Math.max(...shown.map((r) => Math.max(Math.abs(r.total), Math.abs(r.batch ?? 0))), 0) || 1;
    const lines = shown.map((row) => this.#line(row, longest));
    for (const [i, line] of lines.entries()) {
      if (this.list.children[i] !== line.el) this.list.insertBefore(line.el, this.list.children[i] ?? null);
    }
    while (this.list.children.length > lines.length) this.list.lastChild.remove();
    for (const key of this.#lines.keys()) {
      if (!shown.some((r) => r.key === key)) this.#lines.delete(key);
    }
    const more = rows.length - shown.length;
    set(this.rest, more > 0 ? `and ${more.toLocaleString('en')} more` : '');
  }

  #line(row, longest) {
    let line = this.#lines.get(row.key);
    if (!line) {
      line = { label: h('span', { class: 'ranked-label' }), batch: h('i', { class: 'part-batch' }), speed: h('i', { class: 'part-speed' }), value: h('span', { class: 'ranked-value' }) };
      line.el = h('li', {}, line.label, h('span', { class: 'ranked-bar', 'aria-hidden': 'true' }, line.batch, line.speed), line.value);
      this.#lines.set(row.key, line);
    }
    set(line.label, row.label);
    line.label.title = row.label;
    line.el.title = row.title;
    const batch = Math.abs(row.batch ?? row.total);
    line.batch.className = row.batch === null ? 'part-whole' : 'part-batch';
    line.batch.style.width = `${(100 * batch) / longest}%`;
    line.speed.style.width = `${(100 * Math.abs(row.total - (row.batch ?? row.total))) / longest}%`;
    set(line.value, row.text);
    return line;
  }
}
