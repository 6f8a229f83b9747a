// What the page knows of the server. The store owns every connection: it asks
// for the status each second, tells panels through signals, and wakes the rest
// when the server is back.

import { request } from './api.js';
import { Checks } from './checks.js';
import { Hub } from './live.js';
import { Signal } from './signal.js';

const pollMs = 1000;
const historySeconds = 180;
const rateMs = 4000;

export class Store {
  // 'connecting' | 'starting' | 'catching up' | 'ready' | 'lost' | 'signed out', with why and since.
  connection = new Signal({ state: 'connecting', reason: '', since: Date.now() });
  status = new Signal(null);
  views = new Signal(null); // null until they are known
  streams = new Signal([]);
  runs = new Signal([]);
  history = []; // {at, status}, oldest first
  live = new Hub(this.status);
  checks = new Checks(this);
  #timer = 0;
  #polling = false;
  #failures = 0;
  #batched = '';
  #versions = '';

  start() {
    document.addEventListener('visibilitychange', () => this.#onVisibility());
    this.#poll();
    this.checks.start();
  }

  // retry asks at once.
  retry() {
    clearTimeout(this.#timer);
    this.#poll();
  }

  view(name) {
    return this.views.value?.find((v) => v.view === name);
  }

  // rate of change per second of a number of the status, over the last seconds;
  // null while it cannot be told.
  rate(pick) {
    const last = this.history.at(-1);
    const first = this.history.find((h) => h.at >= last?.at - rateMs - 200);
    if (!last || !first || last.at - first.at < 500) return null;
    const change = pick(last.status) - pick(first.status);
    return change >= 0 ? (change * 1000) / (last.at - first.at) : null;
  }

  // trail gives {at, value} of a number of the status, as far back as it is kept.
  trail(pick) {
    return this.history.map(({ at, status }) => ({ at, value: pick(status) }));
  }

  async refreshRuns() {
    try {
      this.runs.set((await request('/v1/batch/runs', { timeoutMs: 10000 })).runs);
    } catch {
      // The next status says whether the server is there; then this is asked again.
      this.#batched = '';
    }
  }

  async runBatch() {
    try {
      return await request('/v1/batch/run', { method: 'POST' });
    } finally {
      await this.refreshRuns();
    }
  }

  #onVisibility() {
    const visible = document.visibilityState === 'visible';
    this.live.setAwake(visible);
    clearTimeout(this.#timer);
    if (visible) this.#poll();
  }

  async #poll() {
    clearTimeout(this.#timer);
    if (this.#polling) return;
    this.#polling = true;
    const startedAt = performance.now();
    try {
      const status = await request('/v1/status', { timeoutMs: 5000 });
      this.#failures = 0;
      this.#take(status);
      await this.#learn(status);
    } catch (err) {
      this.#failures++;
      this.#fail(err);
    }
    this.#polling = false;
    if (this.connection.value.state === 'signed out') return; // the page is loaded anew when somebody signs in
    if (document.visibilityState !== 'visible') return;
    const wait = this.#failures ? Math.min(250 * 2 ** (this.#failures - 1), 2000) : pollMs;
    this.#timer = setTimeout(() => this.#poll(), Math.max(50, wait - (performance.now() - startedAt)));
  }

  #take(status) {
    const at = performance.now();
    if (this.history.length && at - this.history.at(-1).at > historySeconds * 1000) this.history = [];
    this.history.push({ at, status });
    while (this.history[0].at < at - historySeconds * 1000) this.history.shift();
    this.#become(status.ready ? 'ready' : 'catching up', status.reason ?? '');
    this.status.set(status);
  }

  // #learn asks what only changes now and then: the views after a restart, the
  // runs when a batch has moved.
  async #learn(status) {
    const versions = JSON.stringify(status.views.map((v) => [v.view, v.version]));
    if (this.views.value === null || versions !== this.#versions) {
      const [views, { streams }] = await Promise.all([request('/v1/views', { timeoutMs: 10000 }), request('/v1/streams', { timeoutMs: 10000 })]);
      this.#versions = versions;
      this.streams.set(streams);
      this.views.set(views.map(withWindow));
    }
    const batched = JSON.stringify(status.views.map((v) => v.batched));
    if (batched !== this.#batched) {
      this.#batched = batched;
      await this.refreshRuns();
    }
  }

  #fail(err) {
    if (err.status === 401 || err.status === 403) this.#become('signed out', err.message);
    else if (err.notReady) this.#become('starting', err.message.replace(/^not ready: /, ''));
    else if (err.unreachable) this.#become(this.connection.value.state === 'connecting' && this.#failures < 2 ? 'connecting' : 'lost', err.message);
    else this.#become('lost', err.message);
  }

  #become(state, reason) {
    const before = this.connection.value;
    if (before.state === state && before.reason === reason) return;
    const since = before.state === state ? before.since : Date.now();
    this.connection.set({ state, reason, since });
    if (state === 'ready') {
      this.live.retry();
      this.checks.hurry();
    }
  }
}

// withWindow names the columns of a view's window, whatever the view calls them.
function withWindow(view) {
  const named = (role) => view.columns.find((c) => c.role === role)?.name;
  return { ...view, startColumn: named('window_start'), endColumn: named('window_end') };
}
