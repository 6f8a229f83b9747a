// SQL over the streams and the views, all at one cut.

import { request } from '../core/api.js';
import { h, set } from '../core/dom.js';
import { duration, plural, positions } from '../core/format.js';
import { keep, kept } from '../core/kept.js';
import { Cleanup } from '../core/signal.js';
import { offset, problemBox, resultTable } from '../panels/result.js';
import { quoted } from './view.js';

const shownMost = 500;
const keptMost = 30;

function history() {
  try {
    const list = JSON.parse(kept('sql'));
    return Array.isArray(list) ? list.filter((x) => typeof x === 'string') : [];
  } catch {
    return [];
  }
}

function remember(statement) {
  const list = [statement, ...history().filter((x) => x !== statement)].slice(0, keptMost);
  keep('sql', JSON.stringify(list));
  return list;
}

export default {
  title: () => 'SQL',
  mount(el, { store, route, announce }) {
    const cleanup = new Cleanup();
    let running = null;
    const editor = h('textarea', { id: 'sql', class: 'editor', spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off', rows: '7', 'aria-label': 'SQL statement', 'aria-describedby': 'sql-hint', placeholder: 'SELECT …' });
    const button = h('button', { class: 'button button-main', type: 'button', onclick: () => (running ? running.abort() : run()) }, 'Run');
    const note = h('span', { class: 'note', id: 'sql-hint' }, 'Ctrl or ⌘ with Enter runs it');
    const result = h('section', { class: 'panel result', 'aria-label': 'result', hidden: true });
    const tables = h('div', { class: 'tables' });
    const past = h('ol', { class: 'past' });
    el.append(
      h('header', { class: 'page-head' }, h('h1', {}, 'SQL'),
        h('p', { class: 'page-about' }, 'One SELECT, in DuckDB’s SQL. Everything that it reads stands at one cut of the log.')),
      h('div', { class: 'two-columns' },
        h('div', { class: 'column' }, h('section', { class: 'panel' }, editor, h('div', { class: 'editor-foot' }, button, note)), result),
        h('div', { class: 'column' },
          h('section', { class: 'panel', 'aria-labelledby': 'tables-title' }, h('header', { class: 'panel-head' }, h('h2', { id: 'tables-title' }, 'Tables')), tables),
          h('section', { class: 'panel', 'aria-labelledby': 'past-title' }, h('header', { class: 'panel-head' }, h('h2', { id: 'past-title' }, 'History')), past))));

    editor.addEventListener('keydown', (e) => {
      if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        run();
      }
    });

    async function run() {
      const statement = editor.value.trim();
      if (!statement || running) return;
      running = new AbortController();
      set(button, 'Stop');
      result.setAttribute('aria-busy', 'true');
      try {
        const answer = await request('/v1/sql', { method: 'POST', body: { sql: statement }, signal: running.signal });
        show(answer);
        drawPast(remember(statement));
      } catch (error) {
        if (error.name === 'AbortError') set(note, 'stopped');
        else fail(error, statement);
      }
      result.removeAttribute('aria-busy');
      running = null;
      set(button, 'Run');
    }

    function show(answer) {
      const facts = [plural(answer.rows, 'row'), answer.data.length > shownMost && `the first ${shownMost} shown`, duration(answer.statistics?.elapsed_ms), `at ${positions(answer.cut)}`, !answer.complete && 'INCOMPLETE'].filter(Boolean);
      result.hidden = false;
      result.replaceChildren(h('p', { class: 'note', 'data-result': '' }, facts.join(' · ')), resultTable(answer, { most: shownMost }));
      announce(facts[0]);
    }

    function fail(error, statement) {
      result.hidden = false;
      result.replaceChildren(problemBox(error, statement));
      if (error.position && editor.value.trim() === statement) {
        const at = offset(statement, error.position) + editor.value.indexOf(statement);
        editor.focus();
        editor.setSelectionRange(at, at);
      }
    }

    function write(text) {
      editor.setRangeText(text, editor.selectionStart, editor.selectionEnd, 'end');
      editor.focus();
    }

    function replace(text) {
      editor.value = text;
      editor.focus();
    }

    function drawTables() {
      const list = [
        ...store.streams.value.map((s) => ({ name: s.stream, kind: 'stream', columns: s.columns })),
        ...(store.views.value ?? []).map((v) => ({ name: v.view, kind: 'view', columns: v.columns })),
        ...store.streams.value.map((s) => ({ name: `${s.stream}_dead`, kind: 'dead letters', columns: ['line', 'field', 'reason', 'raw'].map((name) => ({ name, type: '' })) })),
      ];
      tables.replaceChildren(...list.map(({ name, kind, columns }) => h('details', {},
        h('summary', {}, name, h('span', { class: 'dim' }, kind)),
        h('div', { class: 'chips' },
          h('button', { type: 'button', class: 'chip', onclick: () => replace(`SELECT *\nFROM ${quoted(name)}\nLIMIT 100`) }, 'SELECT *'),
          columns.map((c) => h('button', { type: 'button', class: 'chip', title: c.type, onclick: () => write(quoted(c.name)) }, c.name))))));
    }

    function drawPast(list) {
      past.replaceChildren(...(list.length ? list.map((text) => h('li', {}, h('button', { type: 'button', title: text, onclick: () => replace(text) }, text))) : [h('li', { class: 'note' }, 'What you run is kept here, in this browser.')]));
    }

    editor.value = route.query.get('q') ?? history()[0] ?? '';
    cleanup.add(store.streams.watch(drawTables));
    cleanup.add(store.views.watch((views) => {
      drawTables();
      if (!editor.value && views?.length) editor.value = `SELECT *\nFROM ${quoted(views[0].view)}\nLIMIT 20`;
    }));
    drawPast(history());
    return () => {
      running?.abort();
      cleanup.run();
      el.replaceChildren();
    };
  },
};
