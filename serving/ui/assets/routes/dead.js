// Dead letters: records that did not fit their stream, with the reason.

import { h, set } from '../core/dom.js';
import { exact, when } from '../core/format.js';
import { request } from '../core/api.js';
import { sqlHref } from '../core/router.js';
import { Cleanup } from '../core/signal.js';
import { drawTabs, streamOf } from '../panels/flow.js';
import { problemBox } from '../panels/result.js';
import { quoted } from './view.js';

// A record that is not UTF-8 is shown in hexadecimal.
const statement = (stream) => `SELECT line, field, reason, coalesce(try(decode(raw)), hex(raw)) AS raw, _ingested_at
FROM ${quoted(`${stream}_dead`)}
ORDER BY _seq DESC, _idx DESC
LIMIT 50`;

export default {
  title: () => 'Dead letters',
  mount(el, { store }) {
    const cleanup = new Cleanup();
    let chosen = null;
    let shown = '';
    const tabs = h('div', { class: 'tabs', role: 'group', 'aria-label': 'stream' });
    const about = h('p', { class: 'note' });
    const link = h('a', { class: 'button' }, 'Open as SQL');
    const list = h('div', { class: 'letters' });
    el.append(
      h('header', { class: 'page-head' }, h('h1', {}, 'Dead letters'), tabs, link,
        h('p', { class: 'page-about' }, 'Records that did not fit their stream. They are kept as they came, in the same message as the good ones.')),
      h('section', { class: 'panel', 'aria-label': 'dead letters' }, about, list));

    async function load(refused, key) {
      shown = key;
      try {
        const { data } = await request('/v1/sql', { method: 'POST', body: { sql: statement(chosen) } });
        if (shown !== key) return;
        set(about, data.length ? `${exact(refused)} refused, the newest ${data.length} shown` : '');
        list.replaceChildren(...(data.length ? data.map(letter) : [h('p', { class: 'empty' }, `Nothing was refused: every record sent to ${chosen} fitted.`)]));
      } catch (error) {
        if (shown === key) shown = '';
        if (!error.unreachable && !error.notReady) list.replaceChildren(problemBox(error));
      }
    }

    const draw = () => {
      const status = store.status.value;
      if (!status?.ready) return;
      const names = status.streams.map((s) => s.stream);
      if (!names.includes(chosen)) chosen = names.find((n) => streamOf(status, n).ledger.refused > 0) ?? names[0];
      if (!chosen) return;
      drawTabs(tabs, names, chosen, (name) => {
        chosen = name;
        draw();
      });
      link.href = sqlHref(statement(chosen));
      // Read again when there are more of them.
      const { refused } = streamOf(status, chosen).ledger;
      const key = `${chosen} ${refused}`;
      if (key !== shown) load(refused, key);
    };
    cleanup.add(store.status.watch(draw));
    return () => {
      cleanup.run();
      shown = '';
      el.replaceChildren();
    };
  },
};

function letter(d) {
  return h('article', { class: 'letter' },
    h('p', { class: 'letter-head' },
      h('b', {}, d.field || 'the record'), h('span', {}, d.reason),
      h('span', { class: 'note' }, `line ${exact(d.line)} · ${when(d._ingested_at)}`)),
    h('pre', { tabindex: '0' }, d.raw));
}
