// What of a view can be drawn: its measures, added up over keys, in the batch's
// part and the speed layer's.

import { h } from '../core/dom.js';
import { isNumber, minus, sum } from '../core/exact.js';
import { cell, clock, day, exact, millis, rounded } from '../core/format.js';

const numeric = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL.*|DOUBLE|FLOAT|REAL)$/;
const doubles = /^(DOUBLE|FLOAT|REAL)$/;

// measuresOf lists what to choose from, the best first. Only sums may be added up
// over keys; other measures are drawn where a bar is one row.
//   {name, type, kind: 'sum' | 'value' | 'rows', label}
export function measuresOf(view) {
  const columns = view.columns.filter((c) => c.role === 'measure' && numeric.test(c.type));
  const sums = columns.filter((c) => c.additive).map((c) => ({ name: c.name, type: c.type, kind: 'sum', label: c.name }));
  const single = !view.window || keyColumns(view).length === 0;
  const values = single ? columns.filter((c) => !c.additive).map((c) => ({ name: c.name, type: c.type, kind: 'value', label: c.name })) : [];
  const list = [...sums, ...values];
  return list.length ? list : [{ name: '', type: 'BIGINT', kind: 'rows', label: 'rows' }];
}

// A view of one row is shown as figures.
export const isSingle = (view) => !view.window && keyColumns(view).length === 0;

export const keyColumns = (view) => view.columns.filter((c) => c.role === 'key');

// partsOf gives the total and the batch's part of one row: {total, batch}; batch
// null where the parts do not add up.
export function partsOf(entry, measure) {
  switch (measure.kind) {
    case 'rows':
      return { total: 1, batch: entry.batch ? 1 : 0 };
    case 'value':
      return { total: entry.row[measure.name], batch: null };
    default:
      return { total: entry.row[measure.name] ?? 0, batch: entry.batch?.[measure.name] ?? 0 };
  }
}

// addUp gives {total, batch, speed} of rows, exactly.
export function addUp(entries, measure) {
  const parts = [...entries].map((e) => partsOf(e, measure));
  const total = parts.length === 1 ? parts[0].total : sum(parts.map((p) => p.total));
  if (measure.kind === 'value') return { total, batch: null, speed: null };
  const batch = sum(parts.map((p) => p.batch));
  return { total, batch, speed: minus(total, batch) };
}

// windowsOf gives the bars of a windowed view, by start.
export function windowsOf(live, view, measure) {
  const bars = new Map();
  for (const entry of live.rows.values()) {
    const start = live.start(entry.row);
    if (!Number.isFinite(start)) continue;
    let bar = bars.get(start);
    if (!bar) {
      const end = millis(entry.row[view.endColumn]);
      bar = { start, end: Number.isFinite(end) ? end : start + (live.stepMs || 1), batch: measure.kind === 'value' ? null : 0, total: 0, entries: [] };
      bars.set(start, bar);
    }
    const { total, batch } = partsOf(entry, measure);
    bar.total += Number(total ?? 0);
    if (bar.batch !== null) bar.batch += Number(batch);
    bar.entries.push(entry);
  }
  const list = [...bars.values()].sort((a, b) => a.start - b.start);
  // Windows that overlap are drawn side by side, each as wide as the step.
  const step = list.reduce((least, b, i) => (i ? Math.min(least, b.start - list[i - 1].start) : least), Infinity);
  for (const bar of list) bar.end = Math.min(bar.end, bar.start + step);
  return list;
}

export function written(value, measure) {
  if (!isNumber(value)) return cell(value).text;
  return doubles.test(measure.type) ? rounded(value) : exact(value);
}

// describeWindow gives the nodes of a bar's tooltip.
export function describeWindow(bar, view, measure) {
  const { total, batch, speed } = addUp(bar.entries, measure);
  const lines = [
    h('p', { class: 'tooltip-head' }, `${day(bar.start)} ${clock(bar.start)}–${clock(bar.end)}`),
    line('', measure.label, written(total, measure), 'tooltip-total'),
  ];
  if (batch !== null) {
    lines.push(line('batch', 'batch', written(batch, measure)), line('speed', 'speed', written(speed, measure)));
  }
  if (bar.entries.length > 1) {
    const top = bar.entries.map((e) => ({ e, v: partsOf(e, measure).total })).sort((a, b) => Number(b.v) - Number(a.v));
    lines.push(h('hr'));
    for (const { e, v } of top.slice(0, 4)) lines.push(line('', keyLabel(view, e.row), measure.kind === 'rows' ? '' : written(v, measure), 'tooltip-key'));
    if (top.length > 4) lines.push(h('p', { class: 'tooltip-key' }, `and ${top.length - 4} more`));
  }
  return lines;
}

function line(part, label, value, extra = '') {
  return h('p', { class: `tooltip-line ${extra}` }, part && h('i', { class: `dot dot-${part}` }), h('span', {}, label), h('b', {}, value));
}

export function keyLabel(view, row) {
  const columns = keyColumns(view);
  return columns.map((c) => cell(row[c.name], c.type).text).join(' · ') || 'all';
}

// summary is what a row of ranked bars says when it is pointed at.
export function summary({ total, batch, speed }, measure) {
  const whole = `${measure.label} ${written(total, measure)}`;
  return batch === null ? whole : `${whole} = ${written(batch, measure)} batch + ${written(speed, measure)} speed`;
}
