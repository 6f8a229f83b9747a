// The first rows of a view that has more of them than the server streams: asked
// for again and again, with pauses as long as the answers are dear.

import { ApiError, request, viewPath } from './api.js';
import { json } from './format.js';

const most = 100;
const shortestPauseMs = 2000;
const pausesToWork = 9;

// A FirstRows stands in for an EventStream: onRows gets {rows, cut, complete}, rows
// as {key, row, batch: null}, the greatest of the first sum first, or the newest.
export class FirstRows {
  #view;
  #handlers;
  #timer = 0;
  #abort = new AbortController();

  constructor(view, handlers) {
    this.#view = view;
    this.#handlers = handlers;
    this.#ask();
  }

  close() {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  retry() {
    clearTimeout(this.#timer);
    this.#ask();
  }

  async #ask() {
    const startedAt = performance.now();
    try {
      const query = new URLSearchParams({ limit: most });
      const column = orderOf(this.#view);
      if (column) query.set('order', `-${column}`);
      const answer = await request(`${viewPath(this.#view.view)}?${query}`, { signal: this.#abort.signal });
      const keys = this.#view.columns.filter((c) => c.role !== 'measure').map((c) => c.name);
      const rows = answer.data.map((row) => ({ key: json(keys.map((name) => row[name])), row, batch: null }));
      this.#handlers.onRows({ rows, cut: answer.cut, complete: answer.complete });
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) return this.#handlers.onRefused(error);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), Math.max(shortestPauseMs, pausesToWork * (performance.now() - startedAt)));
  }
}

// orderOf names the column by which a view's first rows are chosen.
export const orderOf = (view) => (view.window ? view.startColumn : view.columns.find((c) => c.additive)?.name);
