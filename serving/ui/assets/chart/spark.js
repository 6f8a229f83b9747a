// A small area of a number over the last minutes.

import { attributes, s } from '../core/dom.js';

export class Spark {
  constructor({ width = 120, height = 28, seconds = 120, kind = 'speed' } = {}) {
    Object.assign(this, { width, height, seconds });
    this.area = s('path', { class: `spark-area spark-${kind}` });
    this.line = s('path', { class: `spark-line spark-${kind}` });
    this.el = s('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, this.area, this.line);
  }

  // update takes [{at, value}] in ms of performance.now(), oldest first.
  update(points) {
    const now = performance.now();
    const most = Math.max(...points.map((p) => p.value), 1);
    // A page just opened shows its few seconds wide.
    const reach = Math.min(this.seconds * 1000, Math.max(15000, now - (points[0]?.at ?? now)));
    const x = (at) => this.width * (1 - (now - at) / reach);
    const y = (v) => this.height - 1 - (this.height - 3) * (v / most);
    const inside = points.filter((p) => x(p.at) > -2);
    const line = inside.map((p, i) => `${i ? 'L' : 'M'}${x(p.at).toFixed(1)} ${y(p.value).toFixed(1)}`).join('');
    attributes(this.line, { d: line });
    attributes(this.area, { d: line && `${line}L${x(inside.at(-1).at).toFixed(1)} ${this.height}L${x(inside[0].at).toFixed(1)} ${this.height}Z` });
  }
}
