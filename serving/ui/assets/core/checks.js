// The difference: every view against its own SQL over the raw events, one after
// the other, for ever. Each check reads every event, so that the pauses between
// them are nine times as long as the checks.

import { request, viewPath } from './api.js';
import { Signal } from './signal.js';

const eachMs = 10000; // how often a view is proven anew, if it costs little
const shortestPauseMs = 400;
const pausesToWork = 9;
const keptMs = 5 * 60 * 1000;

export class Checks {
  // view → {difference, rows, cut, missing, extra, provenAt, triedAt, error, running}
  results = new Map();
  changed = new Signal(0);
  proofs = []; // {at, view, difference}, oldest first, of the last minutes
  #store;
  #timer = 0;
  #hurried = true;
  #busy = false;

  constructor(store) {
    this.#store = store;
  }

  start() {
    this.#store.views.watch(() => this.#forget());
    document.addEventListener('visibilitychange', () => this.#next(0));
    this.#next(0);
  }

  // hurry proves every view soon: the server has come back.
  hurry() {
    this.#hurried = true;
    for (const r of this.results.values()) r.triedAt = 0;
    this.#next(0);
  }

  // total sums what is known: {difference, proven, views, oldestAt, newest, stale}.
  total(now = Date.now()) {
    const views = this.#store.views.value ?? [];
    const known = views.map((v) => this.results.get(v.view)).filter((r) => r?.provenAt);
    if (!known.length) return { difference: null, proven: 0, views: views.length, stale: true };
    const newest = known.reduce((a, b) => (b.provenAt > a.provenAt ? b : a));
    const oldestAt = Math.min(...known.map((r) => r.provenAt));
    const ready = this.#store.connection.value.state === 'ready';
    const cycleMs = views.reduce((sum, v) => sum + (1 + pausesToWork) * (this.results.get(v.view)?.elapsed_ms ?? 0), 0);
    return {
      difference: known.reduce((sum, r) => sum + r.difference, 0),
      proven: known.length,
      views: views.length,
      newest,
      oldestAt,
      stale: !ready || now - oldestAt > 3 * Math.max(eachMs, cycleMs) + 5000,
    };
  }

  // check proves one view now; fresh does not take what another client got.
  async check(name, fresh = true) {
    const before = this.results.get(name) ?? { view: name };
    this.#put(name, { ...before, running: true, triedAt: Date.now() });
    try {
      const answer = await request(`${viewPath(name)}/check${fresh ? '' : `?max_age=${eachMs / 1000}s`}`, { timeoutMs: 320000 });
      const provenAt = Date.now() - (answer.age_ms ?? 0);
      this.#put(name, { ...answer, provenAt, triedAt: Date.now(), error: null, running: false });
      if (provenAt !== before.provenAt) this.#record({ at: provenAt, view: name, difference: answer.difference });
      return answer;
    } catch (error) {
      // What was proven stays proven, of its cut.
      this.#put(name, { ...before, triedAt: Date.now(), error, running: false });
      throw error;
    }
  }

  #put(name, result) {
    this.results.set(name, result);
    this.changed.set(this.changed.value + 1);
  }

  #record(proof) {
    this.proofs.push(proof);
    while (this.proofs[0].at < Date.now() - keptMs) this.proofs.shift();
  }

  #forget() {
    const views = this.#store.views.value;
    if (!views) return;
    for (const name of this.results.keys()) {
      if (!views.some((v) => v.view === name)) this.results.delete(name);
    }
    this.hurry();
  }

  #next(pauseMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#turn(), pauseMs);
  }

  async #turn() {
    if (this.#busy || document.visibilityState !== 'visible') return;
    const views = this.#store.views.value;
    if (this.#store.connection.value.state !== 'ready' || !views?.length) return this.#next(250);
    const tried = (v) => this.results.get(v.view)?.triedAt ?? 0;
    const oldest = views.reduce((a, b) => (tried(b) < tried(a) ? b : a));
    const dueMs = tried(oldest) + eachMs - Date.now();
    if (dueMs > 0 && !this.#hurried) return this.#next(Math.min(dueMs, eachMs / views.length));
    let workMs = 0;
    this.#busy = true;
    const startedAt = performance.now();
    try {
      const answer = await this.check(oldest.view, false);
      // What another client paid for costs nothing.
      workMs = answer.age_ms ? 0 : answer.elapsed_ms;
    } catch {
      workMs = performance.now() - startedAt;
    }
    this.#busy = false;
    this.#hurried = views.some((v) => !tried(v));
    this.#next(Math.max(pausesToWork * workMs, this.#hurried ? 50 : shortestPauseMs));
  }
}
