// Live views: the rows of a view, kept up to date by the server's stream of
// changes. Whoever shows a view holds a LiveView; the hub decides which of them
// hold a connection.

import { viewPath } from './api.js';
import { EventStream } from './events.js';
import { FirstRows } from './first.js';
import { millis } from './format.js';
import { guarded } from './signal.js';

// A browser opens six connections to one host, over all its tabs; status, checks
// and queries need some of them.
const connectionsMost = 3;
// How long a view that has to share a connection keeps it, from its snapshot on.
const turnMs = 1200;

// A LiveView holds rows as {key, row, batch}: the merged answer, and what the
// warehouse alone answers. Of a windowed view it holds the newest windows.
export class LiveView {
  rows = new Map();
  cut = {};
  batched = {};
  batchedWatermark = null;
  complete = true;
  loaded = false; // an answer has been there
  error = null; // why the server refuses to answer
  limited; // too many rows to follow: rows holds the first ones, without parts
  #hub;
  #stream = null;
  #askedFrom = null;
  #watchers = new Set();

  constructor(hub, view, { windows = 60, everyMs = 100 } = {}) {
    this.#hub = hub;
    this.view = view;
    this.everyMs = everyMs;
    this.windows = view.window ? Math.min(windows, hub.bounds.get(view.view)?.windows ?? windows) : 0;
    this.limited = hub.bounds.get(view.view)?.limited ?? false;
    this.wanted = true;
    this.servedAt = 0;
    this.stepMs = view.window?.slide_ms || view.window?.size_ms || 0;
  }

  // watch calls back when something has come.
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  // want says whether anybody looks at it: a card out of sight needs no stream.
  want(wanted) {
    this.wanted = wanted;
    this.#hub.schedule();
  }

  // show changes how many of the newest windows are held; 0 holds all.
  show(windows) {
    this.windows = windows;
    this.error = null;
    this.limited = false;
    this.suspend();
    this.#hub.schedule();
  }

  close() {
    this.#hub.remove(this);
    this.#watchers.clear();
    this.suspend();
  }

  get open() {
    return this.#stream !== null;
  }

  resume() {
    if (this.#stream || this.error) return;
    if (this.limited) {
      this.#stream = new FirstRows(this.view, { onRows: (data) => this.#onFirst(data), onRefused: (error) => this.#onRefused(error) });
      return;
    }
    const query = new URLSearchParams({ every: `${this.everyMs}ms` });
    this.#askedFrom = this.#coarse(this.#from());
    if (this.#askedFrom !== null) query.set('from', new Date(this.#askedFrom).toISOString());
    this.#stream = new EventStream(`${viewPath(this.view.view)}/live?${query}`, {
      onEvent: (name, data) => this.#onEvent(name, data),
      onRefused: (error) => this.#onRefused(error),
    });
  }

  suspend() {
    this.#stream?.close();
    this.#stream = null;
  }

  retry() {
    this.#stream?.retry();
  }

  start(row) {
    return millis(row[this.view.startColumn]);
  }

  // #from is the start of the oldest window to show, as far as it is known.
  #from() {
    if (!this.windows || !this.stepMs) return null;
    const newest = this.#newest() ?? this.#hub.watermark(this.view.stream);
    if (!Number.isFinite(newest)) return null;
    return Math.floor(newest / this.stepMs) * this.stepMs - (this.windows - 1) * this.stepMs;
  }

  // #coarse rounds down to half of what is shown: pages that ask for the same
  // share the server's work.
  #coarse(from) {
    if (from === null) return null;
    const grid = Math.ceil(this.windows / 2) * this.stepMs;
    return Math.floor(from / grid) * grid;
  }

  #newest() {
    let newest = null;
    for (const { row } of this.rows.values()) {
      const start = this.start(row);
      if (newest === null || start > newest) newest = start;
    }
    return newest;
  }

  #onEvent(name, data) {
    if (name !== 'snapshot' && name !== 'change') return;
    if (name === 'snapshot') this.rows = new Map();
    for (const entry of data.rows) {
      if (entry.row === null) this.rows.delete(entry.key);
      else this.rows.set(entry.key, entry);
    }
    this.cut = data.cut ?? this.cut;
    this.batched = data.batched ?? this.batched;
    if (data.batched_watermark !== undefined) this.batchedWatermark = data.batched_watermark;
    this.complete = data.complete !== false;
    this.#slide();
    if (name === 'snapshot') this.#hub.served(this);
    this.loaded = true;
    this.#tell();
  }

  // #slide drops windows that have moved out of sight. Far beyond what was asked
  // for, it asks anew: else each snapshot would bring them back.
  #slide() {
    const from = this.#from();
    if (from === null) return;
    for (const [key, { row }] of this.rows) {
      if (this.start(row) < from) this.rows.delete(key);
    }
    const slidMs = this.#askedFrom === null ? (this.rows.size > 0 ? Infinity : 0) : from - this.#askedFrom;
    if (slidMs > this.windows * this.stepMs) {
      this.suspend();
      this.#hub.schedule();
    }
  }

  #onRefused(error) {
    this.#stream = null;
    if (error.code === 'result_too_large' && this.windows > 1) {
      this.windows = Math.ceil(this.windows / 2);
      this.#hub.bounds.set(this.view.view, { windows: this.windows });
      this.#hub.schedule();
      return;
    }
    if (error.code === 'result_too_large' && !this.limited) {
      this.limited = true;
      this.#hub.bounds.set(this.view.view, { limited: true });
      this.rows = new Map();
      this.#hub.schedule();
      return;
    }
    this.error = error;
    this.#hub.served(this);
    this.#tell();
  }

  #onFirst({ rows, cut, complete }) {
    this.rows = new Map(rows.map((entry) => [entry.key, entry]));
    Object.assign(this, { cut, complete, loaded: true });
    this.#hub.served(this);
    this.#tell();
  }

  #tell() {
    for (const watcher of [...this.#watchers]) guarded(watcher);
  }
}

// The Hub shares out connections. Up to connectionsMost views hold one each; of
// more, all but one hold theirs and the rest take turns with the last.
export class Hub {
  bounds = new Map(); // view → {windows, limited}: what the server was found to refuse beyond
  #views = new Set();
  #awake = true;
  #timer = 0;
  #turn = null;
  #status;

  constructor(status) {
    this.#status = status;
  }

  open(view, options) {
    const live = new LiveView(this, view, options);
    this.#views.add(live);
    // The caller watches first.
    queueMicrotask(() => this.schedule());
    return live;
  }

  remove(live) {
    this.#views.delete(live);
    if (this.#turn === live) this.#turn = null;
    this.schedule();
  }

  // wake or let sleep: a page that nobody sees holds no connections.
  setAwake(awake) {
    this.#awake = awake;
    this.schedule();
  }

  // retry ends all waiting: the server is back.
  retry() {
    for (const live of this.#views) live.retry();
  }

  watermark(stream) {
    return millis(this.#status.value?.streams.find((s) => s.stream === stream)?.watermark);
  }

  served(live) {
    live.servedAt = performance.now();
    if (live !== this.#turn) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#turn = null;
      this.schedule();
    }, turnMs);
  }

  schedule() {
    const wanting = [...this.#views].filter((live) => live.wanted && !live.error && this.#awake);
    let holding = wanting;
    if (wanting.length > connectionsMost) {
      const sharing = wanting.slice(connectionsMost - 1);
      if (!sharing.includes(this.#turn)) {
        this.#turn = sharing.reduce((a, b) => (b.servedAt < a.servedAt ? b : a));
      }
      holding = [...wanting.slice(0, connectionsMost - 1), this.#turn];
    } else {
      this.#turn = null;
    }
    for (const live of this.#views) {
      if (!holding.includes(live)) live.suspend();
    }
    for (const live of holding) live.resume();
  }
}
