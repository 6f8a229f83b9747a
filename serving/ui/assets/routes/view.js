// One view: its picture, its rows, its definition, and the proof.

import { h } from '../core/dom.js';
import { span } from '../core/format.js';
import { go, href, sqlHref } from '../core/router.js';
import { Cleanup } from '../core/signal.js';
import { mountPlot } from '../panels/plot.js';
import { mountProof } from '../panels/proof.js';
import { mountRows } from '../panels/rows.js';
import { noViews } from './overview.js';

const choices = [[30, 'last 30 windows'], [60, 'last 60 windows'], [240, 'last 240 windows'], [0, 'all windows']];

export default {
  title: (route) => route.params[0] ?? 'Views',
  mount(el, ctx) {
    const cleanup = new Cleanup();
    let page = new Cleanup();
    cleanup.add(() => page.run());
    cleanup.add(ctx.store.views.watch((views) => {
      page.run();
      page = new Cleanup();
      el.replaceChildren();
      if (!views) return;
      const [wanted] = ctx.route.params;
      const view = wanted === undefined ? views[0] : views.find((v) => v.view === wanted);
      if (view) page.add(mountView(el, ctx, view, views));
      else el.append(views.length ? missing(wanted, views) : noViews());
    }));
    return () => cleanup.run();
  },
};

function missing(name, views) {
  return h('div', { class: 'empty-box' }, h('h3', {}, `There is no view ${name}`), h('p', {}, 'There are ', views.map((v, i) => [i ? ', ' : '', h('a', { href: href('views', v.view) }, v.view)]), '.'));
}

function mountView(el, ctx, view, views) {
  const cleanup = new Cleanup();
  const live = ctx.store.live.open(view, { windows: 60 });
  cleanup.add(() => live.close());

  const range = view.window && h('select', { class: 'select', 'aria-label': 'windows shown', onchange: () => live.show(Number(range.value)) },
    choices.map(([n, label]) => h('option', { value: n, selected: n === 60 }, label)));
  const others = views.length > 1 && h('select', { class: 'select select-title', 'aria-label': 'view', onchange: () => go(href('views', others.value)) },
    views.map((v) => h('option', { value: v.view, selected: v === view }, v.view)));
  const picture = h('section', { class: 'panel', 'aria-label': 'chart' });
  const left = h('div', { class: 'column' }, picture);
  const right = h('div', { class: 'column' });
  el.append(
    h('header', { class: 'page-head' },
      h('h1', {}, others || view.view), range,
      h('p', { class: 'page-about' }, [view.description, `from ${view.stream}`, view.window?.size_ms && `each ${span(view.window.size_ms)}`].filter(Boolean).join(' · '))),
    h('div', { class: 'two-columns' }, left, right));
  cleanup.add(mountPlot(picture, { live, view, most: 20 }));
  cleanup.add(mountRows(left, { live, view }));
  cleanup.add(mountProof(right, ctx, view));
  right.append(definition(view), columnList(view));
  return () => cleanup.run();
}

function definition(view) {
  const statement = `SELECT * FROM ${quoted(view.view)} LIMIT 100`;
  return h('section', { class: 'panel after', 'aria-labelledby': 'definition-title' },
    h('header', { class: 'panel-head' }, h('h2', { id: 'definition-title' }, 'Definition'), h('a', { class: 'button', href: sqlHref(statement) }, 'Query it')),
    h('pre', { class: 'sql-text', tabindex: '0' }, view.sql.trim()),
    h('p', { class: 'note' }, `version ${view.version}`));
}

function columnList(view) {
  const part = (c) => (c.role === 'measure' ? (c.additive ? 'sum' : 'measure') : c.role.replace('_', ' '));
  return h('section', { class: 'panel after', 'aria-labelledby': 'columns-title' },
    h('header', { class: 'panel-head' }, h('h2', { id: 'columns-title' }, 'Columns')),
    h('table', { class: 'table table-still table-small' }, h('tbody', {}, view.columns.map((c) => h('tr', {}, h('th', { scope: 'row' }, c.name), h('td', {}, c.type.toLowerCase()), h('td', { class: 'dim' }, part(c)))))));
}

export const quoted = (name) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);
