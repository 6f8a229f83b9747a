// The picture of a view, whichever suits it: windows over time, ranked bars, or
// figures if it is one row.

import { BarChart } from '../chart/bars.js';
import { RankedBars } from '../chart/ranked.js';
import { eachFrame, h, set } from '../core/dom.js';
import { orderOf } from '../core/first.js';
import { exact, millis, span } from '../core/format.js';
import { Cleanup } from '../core/signal.js';
import { addUp, describeWindow, isSingle, keyLabel, measuresOf, partsOf, summary, windowsOf, written } from './measures.js';

// A young view is not drawn as one wide bar, nor an old one with room for its past.
const windowsLeast = 12;

// Which measure a view was last looked at by.
const remembered = new Map();

// mountPlot draws live into el and gives {unmount}. The picture, its legend and
// the choice of the measure are three nodes, in this order.
export function mountPlot(el, { live, view, most = 10 }) {
  const cleanup = new Cleanup();
  const measures = measuresOf(view);
  const single = isSingle(view);
  let chosen = measures.find((m) => m.name === remembered.get(view.view)) ?? measures[0];
  let measure = chosen;

  const total = h('b', { class: 'figure', 'data-total': view.view });
  const batch = h('span', { class: 'legend-value' });
  const speed = h('span', { class: 'legend-value' });
  const parts = h('span', { class: 'legend-parts' },
    h('span', { class: 'legend-part' }, h('i', { class: 'dot dot-batch' }), 'batch ', batch),
    h('span', { class: 'legend-part' }, h('i', { class: 'dot dot-speed' }), 'speed ', speed));
  const note = h('p', { class: 'note' });
  const picker = h('select', { class: 'select', 'aria-label': `measure of ${view.view}`, onchange: () => choose(picker.value) },
    measures.map((m) => h('option', { value: m.name, selected: m === chosen }, m.label)));
  const head = h('div', { class: 'plot-head' },
    h('div', { class: 'plot-sum' }, total, h('span', { class: 'plot-of' }, measures.length > 1 ? picker : measure.label)), parts);

  const picture = single ? figures(view) : view.window ? new BarChart({ label: `${measure.label} of ${view.view} by window` }) : new RankedBars({ label: `${view.view}, ranked`, most });
  const empty = h('p', { class: 'empty' });
  const stage = h('div', { class: view.window ? 'stage stage-time' : 'stage' }, picture.el, empty);
  el.append(single ? '' : head, stage, note);

  function choose(name) {
    chosen = measures.find((m) => m.name === name);
    remembered.set(view.view, name);
    ask();
  }

  function draw() {
    const entries = [...live.rows.values()];
    // Of the first rows alone nothing can be added up.
    measure = live.limited ? { ...chosen, kind: 'value' } : chosen;
    stage.classList.toggle('is-empty', entries.length === 0);
    const nothing = live.loaded && !entries.length;
    set(empty, live.error ? live.error.message : nothing ? `no events of ${view.stream} in this view yet` : live.loaded ? '' : 'waiting for the first answer');
    empty.hidden = !empty.textContent || (single && !live.error);
    note.classList.toggle('is-bad', !live.complete);
    set(note, !live.complete ? 'incomplete: a stretch of events is missing until the next batch run' : live.error?.hint ?? (nothing ? `send some: tailwater send ${view.stream} FILE` : live.loaded ? caption(live, view) : ''));
    if (!live.loaded) return;
    if (single) return picture.update(entries[0]);
    const sums = addUp(entries, measure);
    parts.hidden = sums.batch === null;
    set(total, sums.batch === null && entries.length !== 1 ? '' : written(sums.total, measure));
    if (sums.batch !== null) {
      set(batch, written(sums.batch, measure));
      set(speed, written(sums.speed, measure));
    }
    if (view.window) drawWindows();
    else drawRanked(entries);
  }

  function drawWindows() {
    const bars = windowsOf(live, view, measure);
    const last = bars.at(-1);
    const step = live.stepMs || (last ? last.end - last.start : 1);
    const to = last ? last.start + step : 1;
    const first = bars[0]?.start ?? 0;
    const from = live.windows && live.stepMs ? Math.max(to - live.windows * step, Math.min(first, to - windowsLeast * step)) : first;
    picture.update({ bars, from, to, cut: millis(live.batchedWatermark), describe: (bar) => describeWindow(bar, view, measure) });
  }

  function drawRanked(entries) {
    const rows = entries.map((entry) => ({ entry, total: Number(partsOf(entry, measure).total ?? 0) }));
    rows.sort((a, b) => b.total - a.total || (a.entry.key < b.entry.key ? -1 : 1));
    picture.update(rows.map(({ entry, total: size }, i) => {
      if (i >= most) return { key: entry.key };
      const sums = addUp([entry], measure);
      return { key: entry.key, label: keyLabel(view, entry.row), total: size, batch: sums.batch === null ? null : Number(sums.batch), text: written(sums.total, measure), title: summary(sums, measure) };
    }));
  }

  const ask = eachFrame(draw);
  cleanup.add(live.watch(ask));
  cleanup.add(() => ask.cancel());
  cleanup.add(() => picture.destroy?.());
  draw();
  return () => cleanup.run();
}

function caption(live, view) {
  if (live.limited) {
    const by = orderOf(view);
    return `more rows than can be followed: the first ${exact(live.rows.size)}${by ? ` by ${by}` : ''}, now and then, their parts not told apart`;
  }
  if (!view.window) return '';
  const last = live.windows ? `the last ${live.windows} windows` : 'all windows';
  return view.window.size_ms ? `${last} of a ${span(view.window.size_ms)}`.replace('a hour', 'an hour').replace(/a (\d)/, '$1') : last;
}

// figures shows the one row of a view without keys: a number a measure.
function figures(view) {
  const cells = measuresOf(view).map((measure) => {
    const value = h('b', { class: 'figure', 'data-total': view.view });
    const batch = h('i', { class: 'part-batch' });
    const speed = h('i', { class: 'part-speed' });
    const bar = h('span', { class: 'split', 'aria-hidden': 'true' }, batch, speed);
    return { measure, value, batch, speed, bar, el: h('div', { class: 'stat' }, h('span', { class: 'stat-label' }, measure.label), value, bar) };
  });
  return {
    el: h('div', { class: 'stats' }, cells.map((c) => c.el)),
    update(entry) {
      for (const c of cells) {
        const sums = entry ? addUp([entry], c.measure) : { total: null, batch: null };
        const text = entry ? written(sums.total, c.measure) : '—';
        set(c.value, text);
        c.el.title = entry ? summary(sums, c.measure) : '';
        c.bar.hidden = sums.batch === null;
        const share = sums.batch === null ? 0 : (100 * Number(sums.batch)) / (Number(sums.total) || 1);
        c.batch.style.width = `${share}%`;
        c.speed.style.width = `${100 - share}%`;
      }
    },
  };
}
