// A table of an answer that stands still.

import { cellNode, h } from '../core/dom.js';
import { cell } from '../core/format.js';

const numberType = /^(U?(TINY|SMALL|BIG|HUGE)?INT|DECIMAL|DOUBLE|FLOAT|REAL)/;

// resultTable shows the first rows of an answer; wide columns wrap.
export function resultTable({ meta, data }, { most = 500, label = 'result' } = {}) {
  const right = meta.map((c) => (numberType.test(c.type) ? 'right' : ''));
  return h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': label },
    h('table', { class: 'table table-still' },
      h('thead', {}, h('tr', {}, meta.map((c, i) => h('th', { scope: 'col', class: right[i] }, c.name, h('small', {}, c.type.toLowerCase()))))),
      h('tbody', {}, data.slice(0, most).map((row) => h('tr', {}, meta.map((c, i) => h('td', { class: right[i] }, cellNode(cell(row[c.name], c.type)))))))));
}

// problemBox shows what the server objects to, with the place in the statement.
export function problemBox(error, statement = '') {
  const [message, place] = split(error.message);
  return h('div', { class: 'problem-box', role: 'alert' },
    h('p', {}, h('b', {}, error.code), ' ', message),
    (place || error.position) && h('pre', {}, place || caret(statement, error.position)),
    error.hint && h('p', { class: 'problem-hint' }, error.hint));
}

// The engine ends its message with the line and a caret under the place.
function split(message) {
  const at = message.indexOf('\n\nLINE ');
  return at < 0 ? [message, ''] : [message.slice(0, at), message.slice(at + 2)];
}

// caret points at a position, which counts characters from 1.
export function caret(statement, position) {
  const at = offset(statement, position);
  const start = statement.lastIndexOf('\n', at - 1) + 1;
  const end = statement.indexOf('\n', at);
  const number = statement.slice(0, start).split('\n').length;
  const head = `LINE ${number}: `;
  return `${head}${statement.slice(start, end < 0 ? undefined : end)}\n${' '.repeat(head.length + at - start)}^`;
}

// offset turns a count of characters into an index of the string, whose units are
// smaller than some characters.
export function offset(statement, position) {
  return [...statement].slice(0, position - 1).join('').length;
}
