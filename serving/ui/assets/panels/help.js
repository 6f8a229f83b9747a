// Help: the words, the marks and the keys.

import { h } from '../core/dom.js';
import { marks } from './flow.js';
import { places } from './header.js';
import { signOutButton } from './signin.js';

const keys = [
  ['/', 'write SQL'],
  ['?', 'this help'],
  ['t', 'light or dark'],
  ...places.map(([, label], i) => [String(i + 1), label]),
  ['← →', 'read a chart that has the focus'],
  ['Ctrl ↵', 'run the SQL'],
];

export function helpDialog({ shortcuts, setShortcuts }) {
  const on = h('input', { type: 'checkbox', checked: shortcuts(), onchange: () => setShortcuts(on.checked) });
  const dialog = h('dialog', { class: 'help', 'aria-labelledby': 'help-title' },
    h('header', {}, h('h2', { id: 'help-title' }, 'Help'), h('button', { class: 'button', type: 'button', onclick: () => dialog.close() }, 'Close')),
    h('h3', {}, 'The difference'),
    h('p', {}, 'Every answer adds what the warehouse has counted through a cut of the log to what the speed layer has counted after it. The difference compares each view with the same SQL over every raw event, at one cut. It is 0 unless something is wrong.'),
    h('h3', {}, 'Two layers'),
    h('p', {}, h('i', { class: 'dot dot-batch' }), 'batch: counted by the warehouse, through the cut. ', h('i', { class: 'dot dot-speed' }), 'speed: counted in memory, after it. The cut is a position in the log: a late event counts as speed though its window is old. Times are UTC.'),
    h('h3', {}, 'Marks'),
    h('dl', { class: 'help-list' }, Object.entries(marks).map(([mark, text]) => [h('dt', {}, h('kbd', {}, mark)), h('dd', {}, text)])),
    h('h3', {}, 'Keys'),
    h('dl', { class: 'help-list help-keys' }, keys.map(([key, text]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, text)])),
    h('label', { class: 'help-switch' }, on, ' single keys are shortcuts'),
    signOutButton());
  dialog.addEventListener('click', (e) => e.target === dialog && dialog.close());
  return dialog;
}
