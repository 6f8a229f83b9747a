// How values are written. Times are UTC everywhere, as they are in the engine.

import { Exact, isNumber } from './exact.js';

const thousands = /\B(?=(\d{3})+$)/g;

// group sets commas into the whole part and touches no digit.
function group(text) {
  const m = /^(-?)(\d+)(\..*)?$/.exec(text);
  if (!m) return text.replace('-', '−');
  return (m[1] ? '−' : '') + m[2].replace(thousands, ',') + (m[3] || '');
}

// exact writes every digit that the answer had.
export const exact = (v) => (isNumber(v) ? group(String(v)) : String(v));

// rounded is for doubles, whose last digits are noise to a reader: six
// significant digits after a long fraction.
export function rounded(v) {
  const n = Number(v);
  if (!Number.isFinite(n)) return String(v);
  if (Number.isInteger(n)) return exact(v);
  const size = Math.abs(n);
  if (size >= 1e15 || size < 1e-6) return n.toExponential(4).replace('-', '−');
  return group(n.toFixed(size >= 1000 ? 2 : size >= 1 ? 3 : 6));
}

const units = [[1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];

// compact is for axes and headlines: three digits and a unit.
export function compact(v) {
  const n = Number(v);
  const size = Math.abs(n);
  if (size >= 1e18) return n.toExponential(1).replace('e+', 'e');
  for (const [unit, name] of units) {
    if (size >= unit * 0.9995) {
      const x = n / unit;
      const places = Math.abs(x) >= 99.95 ? 0 : 1;
      return x.toFixed(places).replace(/\.0$/, '').replace('-', '−') + name;
    }
  }
  const places = Number.isInteger(n) || size >= 100 ? 0 : size >= 1 ? 1 : 3;
  return String(Number(n.toFixed(places))).replace('-', '−');
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return '—';
  return perSecond >= 1000 ? compact(perSecond) : String(Math.round(perSecond * (perSecond < 10 ? 10 : 1)) / (perSecond < 10 ? 10 : 1));
}

// duration of so many milliseconds.
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '—';
  if (ms < 1) return '<1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.round(s)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(s % 60)} s`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

// ago says how long a moment is past, coarsely: it is written anew every second.
export function ago(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 1) return 'just now';
  if (s < 90) return `${s} s ago`;
  const minutes = Math.floor(s / 60);
  if (minutes < 90) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 36 ? `${hours} h ago` : `${Math.floor(hours / 24)} days ago`;
}

export const millis = (text) => (typeof text === 'string' ? Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? text + 'T00:00:00Z' : text) : NaN);

export function clock(ms, seconds = true) {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(11, seconds ? 19 : 16) : '—';
}

export function day(ms) {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 10) : '—';
}

// time writes a timestamp of the engine as short as it is exact.
export function time(text) {
  const m = /^(-?\d+-\d\d-\d\d)T(\d\d:\d\d)(:\d\d(?:\.\d+)?)?Z?$/.exec(text);
  if (!m) return text;
  const seconds = m[3] && !/^:00(\.0+)?$/.test(m[3]) ? m[3] : '';
  return `${m[1]} ${m[2]}${seconds}`;
}

// when writes a moment for people: the clock alone if it was today.
export function when(text, now = Date.now()) {
  const ms = millis(text);
  if (!Number.isFinite(ms)) return '—';
  return day(ms) === day(now) ? clock(ms) : `${day(ms)} ${clock(ms, false)}`;
}

const times = /^TIMESTAMP|^DATE$/;
const doubles = /^(DOUBLE|FLOAT|REAL)$/;

// cell writes a value of a column of a type; title has what was left out.
export function cell(value, type = '') {
  if (value === null || value === undefined) return { text: 'null', kind: 'null' };
  if (isNumber(value)) {
    if (!doubles.test(type)) return { text: exact(value), kind: 'number' };
    const text = rounded(value);
    return { text, kind: 'number', title: String(value) };
  }
  if (typeof value === 'string' && times.test(type)) return { text: time(value), kind: 'time' };
  if (typeof value === 'object') return { text: json(value), kind: 'json' };
  if (value === '') return { text: 'empty', kind: 'null' };
  return { text: String(value), kind: 'text' };
}

// json prints a value with the digits of its numbers.
export function json(v) {
  if (v instanceof Exact) return v.text;
  if (Array.isArray(v)) return `[${v.map(json).join(', ')}]`;
  if (v && typeof v === 'object') {
    return `{${Object.entries(v).map(([k, x]) => `${JSON.stringify(k)}: ${json(x)}`).join(', ')}}`;
  }
  return JSON.stringify(v);
}

// positions writes a cut as the tokens that `after` takes.
export function positions(cut) {
  const parts = Object.entries(cut || {}).map(([source, seq]) => `${source}/${seq}`);
  return parts.length ? parts.join(', ') : 'the beginning';
}

export function plural(n, one, many = one + 's') {
  return `${exact(n)} ${n === 1 ? one : many}`;
}

export function span(ms) {
  const steps = [[86400e3, 'day'], [3600e3, 'hour'], [60e3, 'minute'], [1e3, 'second']];
  for (const [unit, name] of steps) {
    if (ms >= unit && ms % unit === 0) return ms === unit ? name : `${ms / unit} ${name}s`;
  }
  return `${ms} ms`;
}
