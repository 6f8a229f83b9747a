// A chart of windows over time: each bar is what the warehouse counted through
// the cut and, on top of it, what the speed layer counted after.

import { attributes, eachFrame, h, s, set } from '../core/dom.js';
import { clock, compact } from '../core/format.js';
import { linear, timeTicks, valueTicks } from './scale.js';

const margin = { top: 26, right: 10, bottom: 24, left: 46 };
const barsMost = 600;

// A BarChart draws what update gives it:
//   bars       [{start, end, batch, total}] in doubles, by start; batch null: not told apart
//   from, to   the time shown
//   cut        greatest event time that the warehouse has counted, or NaN
//   describe   (bar) → nodes of its tooltip
export class BarChart {
  #data = { bars: [], from: 0, to: 1, cut: NaN, describe: () => [] };
  #size = { width: 0, height: 0 };
  #picked = null; // start of the bar with the tooltip
  #byKeys = false;
  #rects = new Map();
  #ask = eachFrame(() => this.#draw());

  constructor({ label }) {
    this.grid = s('g', { class: 'chart-grid' });
    this.wash = s('rect', { class: 'chart-wash' });
    this.bars = s('g', { class: 'chart-bars' });
    this.band = s('rect', { class: 'chart-band' });
    this.cutLine = s('line', { class: 'chart-cut' });
    this.cutLabel = s('text', { class: 'chart-cut-label' });
    this.axis = s('g', { class: 'chart-axis' });
    this.svg = s('svg', { 'aria-hidden': 'true' }, this.wash, this.grid, this.band, this.bars, this.cutLine, this.cutLabel, this.axis);
    this.tooltip = h('div', { class: 'tooltip', hidden: true });
    this.spoken = h('p', { class: 'visually-hidden', 'aria-live': 'polite' });
    this.el = h('div', { class: 'chart', tabindex: '0', role: 'group', 'aria-roledescription': 'chart', 'aria-label': `${label}. Left and right arrows read the bars.` }, this.svg, this.tooltip, this.spoken);
    this.observer = new ResizeObserver(([entry]) => {
      this.#size = { width: Math.floor(entry.contentRect.width), height: Math.floor(entry.contentRect.height) };
      this.#ask();
    });
    this.observer.observe(this.el);
    this.el.addEventListener('pointermove', (e) => this.#pick(this.#nearest(e), false));
    this.el.addEventListener('pointerleave', () => this.#pick(null, false));
    this.el.addEventListener('keydown', (e) => this.#onKey(e));
    this.el.addEventListener('blur', () => this.#pick(null, false));
  }

  update(data) {
    this.#data = { ...data, bars: data.bars.slice(-barsMost) };
    this.#ask();
  }

  destroy() {
    this.#ask.cancel();
    this.observer.disconnect();
  }

  #scales() {
    const { bars, from, to } = this.#data;
    const { width, height } = this.#size;
    let low = 0;
    let high = 0;
    for (const b of bars) {
      low = Math.min(low, b.total, b.batch ?? 0);
      high = Math.max(high, b.total, b.batch ?? 0);
    }
    if (low === high) high = 1;
    const ticks = valueTicks(low, high, height < 200 ? 3 : 4);
    const x = linear(from, to, margin.left, width - margin.right);
    const y = linear(ticks[0], ticks.at(-1), height - margin.bottom, margin.top);
    return { x, y, ticks };
  }

  #draw() {
    const { width, height } = this.#size;
    if (width < 80 || height < 60) return;
    attributes(this.svg, { viewBox: `0 0 ${width} ${height}`, width, height });
    const { x, y, ticks } = this.#scales();
    this.#drawAxes(x, y, ticks);
    this.#drawBars(x, y);
    this.#drawCut(x);
    this.#drawPicked(x);
  }

  #drawAxes(x, y, ticks) {
    const { width, height } = this.#size;
    const { from, to } = this.#data;
    this.grid.replaceChildren(
      ...ticks.map((t) => s('line', { x1: margin.left, x2: width - margin.right, y1: Math.round(y(t)) + 0.5, y2: Math.round(y(t)) + 0.5, class: t === 0 ? 'zero' : undefined })),
    );
    this.axis.replaceChildren(
      ...ticks.map((t) => s('text', { x: margin.left - 8, y: y(t), dy: '0.32em', 'text-anchor': 'end' }, compact(t))),
      ...timeTicks(from, to, Math.max(2, Math.floor(width / 90))).map(({ at, label }) => {
        const px = x(at);
        return s('g', {}, s('line', { x1: px, x2: px, y1: height - margin.bottom, y2: height - margin.bottom + 4 }), s('text', { x: px, y: height - 6, 'text-anchor': px > width - 30 ? 'end' : 'middle' }, label));
      }),
    );
  }

  #drawBars(x, y) {
    const seen = new Set();
    const { bars, from } = this.#data;
    for (const bar of bars) {
      seen.add(bar.start);
      const left = x(Math.max(bar.start, from));
      const room = x(bar.end) - left;
      const gap = room > 12 ? 2 : room > 4 ? 1 : 0;
      const wide = Math.max(1, room - gap);
      let pair = this.#rects.get(bar.start);
      if (!pair) {
        pair = [s('rect', { class: 'bar-batch' }), s('rect', { class: 'bar-speed' })];
        this.#rects.set(bar.start, pair);
        this.bars.append(...pair);
      }
      const split = bar.batch !== null;
      pair[0].setAttribute('class', split ? 'bar-batch' : 'bar-whole');
      place(pair[0], left, wide, y(0), y(split ? bar.batch : bar.total));
      place(pair[1], left, wide, y(split ? bar.batch : bar.total), y(bar.total));
    }
    for (const [start, pair] of this.#rects) {
      if (seen.has(start)) continue;
      for (const rect of pair) rect.remove();
      this.#rects.delete(start);
    }
  }

  // The cut is a position; drawn is the greatest event time before it. Late
  // events are counted after the cut though they lie left of the line.
  #drawCut(x) {
    const { width, height } = this.#size;
    const { cut, from, to, bars } = this.#data;
    const known = Number.isFinite(cut);
    const at = known ? Math.min(Math.max(x(cut), margin.left), width - margin.right) : margin.left;
    const px = Math.round(at) + 0.5;
    const shown = known && cut >= from;
    attributes(this.cutLine, { x1: px, x2: px, y1: 8, y2: height - margin.bottom, visibility: shown ? 'visible' : 'hidden' });
    attributes(this.wash, { x: px, y: margin.top - 18, width: Math.max(0, width - margin.right - px), height: height - margin.bottom - margin.top + 18, visibility: bars.length ? 'visible' : 'hidden' });
    const text = !bars.length ? '' : !known ? 'nothing batched yet' : cut < from ? `◂ cut ${clock(cut)}` : cut > to ? `cut ${clock(cut)} ▸` : `cut ${clock(cut)}`;
    const toLeft = px > width / 2;
    attributes(this.cutLabel, { x: toLeft ? px - 6 : px + 6, y: 15, 'text-anchor': toLeft ? 'end' : 'start' });
    set(this.cutLabel, text);
  }

  #drawPicked(x) {
    const bar = this.#data.bars.find((b) => b.start === this.#picked);
    this.tooltip.hidden = !bar;
    attributes(this.band, { visibility: bar ? 'visible' : 'hidden' });
    if (!bar) return;
    const { width, height } = this.#size;
    const left = x(bar.start);
    attributes(this.band, { x: left, y: margin.top, width: Math.max(1, x(bar.end) - left), height: height - margin.top - margin.bottom });
    this.tooltip.replaceChildren(...this.#data.describe(bar));
    const middle = (left + x(bar.end)) / 2;
    const wide = this.tooltip.offsetWidth;
    const beside = middle + 14 + wide > width ? middle - 14 - wide : middle + 14;
    this.tooltip.style.transform = `translate(${Math.max(0, Math.min(width - wide, beside))}px, ${margin.top}px)`;
    if (this.#byKeys) set(this.spoken, this.tooltip.innerText.replace(/\s*\n\s*/g, ', '));
  }

  #nearest(e) {
    const { bars } = this.#data;
    const { x } = this.#scales();
    const px = e.clientX - this.el.getBoundingClientRect().left;
    return bars.find((b) => px >= x(b.start) && px < x(b.end))?.start ?? null;
  }

  #pick(start, byKeys) {
    this.#byKeys = byKeys;
    if (this.#picked === start) return;
    this.#picked = start;
    this.#ask();
  }

  #onKey(e) {
    const { bars } = this.#data;
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[e.key];
    if (e.key === 'Escape') this.#pick(null, true);
    if (step === undefined || !bars.length || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    const now = bars.findIndex((b) => b.start === this.#picked);
    const from = now < 0 ? (step < 0 ? bars.length : bars.length - 2) : now;
    this.#pick(bars[Math.max(0, Math.min(bars.length - 1, from + step))].start, true);
  }
}

function place(rect, x, width, from, to) {
  attributes(rect, { x: x.toFixed(2), width: width.toFixed(2), y: Math.min(from, to).toFixed(2), height: Math.abs(from - to).toFixed(2) });
}
