// The four marks of a stream on one ruler, which shows the newest stretch of the
// log: from a little before the cut to the head.

import { attributes, h, s, set } from '../core/dom.js';
import { exact } from '../core/format.js';
import { marks } from './flow.js';

const height = 84;
const line = 42;
const side = 26;

export class Ruler {
  #width = 0;
  #drawn = null;

  constructor(stream) {
    this.batch = s('rect', { class: 'ruler-batch', y: line - 5, height: 10 });
    this.speed = s('rect', { class: 'ruler-speed', y: line - 5, height: 10 });
    this.behind = s('rect', { class: 'ruler-behind', y: line - 5, height: 10 });
    this.labels = s('g', {});
    this.svg = s('svg', { height, 'aria-hidden': 'true' }, this.batch, this.speed, this.behind, this.labels);
    this.spoken = h('p', { class: 'visually-hidden' });
    this.el = h('div', { class: 'ruler', title: Object.entries(marks).map(([m, text]) => `${m}  ${text}`).join('\n') }, this.svg, this.spoken);
    this.stream = stream;
    new ResizeObserver(([entry]) => {
      this.#width = Math.floor(entry.contentRect.width);
      this.#draw();
    }).observe(this.el);
  }

  update(st) {
    this.#drawn = st;
    set(this.spoken, `${this.stream}: batched through ${st.batched}, landed through ${st.landed}, applied through ${st.applied}, head ${st.head}`);
    this.#draw();
  }

  #draw() {
    const st = this.#drawn;
    const width = this.#width;
    if (!st || width < 120) return;
    attributes(this.svg, { width, viewBox: `0 0 ${width} ${height}` });
    const low = Math.max(0, Math.floor(st.batched - Math.max(4, (st.head - st.batched) * 0.6)));
    const high = Math.max(st.head, low + 1);
    const x = (seq) => side + ((seq - low) / (high - low)) * (width - 2 * side);
    const stretch = (rect, from, to) => attributes(rect, { x: x(from).toFixed(1), width: Math.max(0, x(to) - x(from)).toFixed(1) });
    stretch(this.batch, low, st.batched);
    stretch(this.speed, st.batched, Math.max(st.batched, st.applied));
    stretch(this.behind, Math.max(st.batched, st.applied), st.head);
    // Layers that read the log are above the line, those that store it below.
    this.labels.replaceChildren(
      ...place([['A', st.applied], ['H', st.head]], x, width).flatMap((l) => label(l, -1, width)),
      ...place([['S', st.batched], ['L', st.landed]], x, width).flatMap((l) => label(l, 1, width)),
      s('text', { class: 'ruler-start', x: 0, y: line + 4, 'text-anchor': 'start' }, low > 0 ? '…' : '0'));
  }
}

// place joins marks that would be written over one another.
function place(list, x) {
  const out = [];
  for (const [mark, seq] of list.sort((a, b) => a[1] - b[1])) {
    const last = out.at(-1);
    if (last && last.seq === seq) last.mark += ` ${mark}`;
    else out.push({ mark, seq, at: x(seq), textAt: x(seq) });
  }
  const [a, b] = out;
  if (b && b.textAt - a.textAt < 96) {
    const middle = (a.textAt + b.textAt) / 2;
    a.textAt = middle - 48;
    b.textAt = middle + 48;
  }
  return out;
}

function label({ mark, seq, at, textAt }, direction, width) {
  const y = direction < 0 ? 16 : height - 6;
  const anchorAt = Math.max(40, Math.min(width - 40, textAt));
  return [
    s('path', { class: 'ruler-mark', d: `M${at.toFixed(1)} ${line}V${line + direction * 12}L${anchorAt.toFixed(1)} ${line + direction * 20}` }),
    s('text', { x: anchorAt.toFixed(1), y, 'text-anchor': 'middle' }, s('tspan', { class: 'ruler-letter' }, mark), ` ${exact(seq)}`),
  ];
}
