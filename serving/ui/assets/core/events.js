// Server-sent events over fetch: unlike EventSource it sees the status and the
// body of a refusal, and reconnects after any of them.

import { ApiError, failure, unreachable } from './api.js';
import { parse } from './exact.js';
import { guarded } from './signal.js';

const firstWaitMs = 250;
const longestWaitMs = 5000;
// The server sends a comment every 15 s: after two of them missed it is gone.
const silenceMs = 35000;

// An EventStream keeps one connection open until it is closed.
//   onEvent(name, data)   one event, its data parsed
//   onRefused(error)      the request itself is wrong (4xx): not asked again
export class EventStream {
  #path;
  #handlers;
  #abort = null;
  #timer = 0;
  #waitMs = firstWaitMs;
  #closed = false;

  constructor(path, handlers) {
    this.#path = path;
    this.#handlers = handlers;
    this.#run();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }

  // retry ends a wait: the server has just been seen.
  retry() {
    if (this.#closed || this.#abort) return;
    this.#waitMs = firstWaitMs;
    clearTimeout(this.#timer);
    this.#run();
  }

  async #run() {
    this.#abort = new AbortController();
    let error = unreachable();
    try {
      const response = await fetch(this.#path, { cache: 'no-store', signal: this.#abort.signal, headers: { Accept: 'text/event-stream' } });
      if (!response.ok) throw await failure(response);
      await this.#read(response.body.getReader());
    } catch (err) {
      // Whatever else it is, the connection is gone.
      if (err instanceof ApiError) error = err;
    }
    this.#abort = null;
    if (this.#closed) return;
    if (error.status >= 400 && error.status < 500 && error.status !== 429) {
      this.#closed = true;
      this.#handlers.onRefused(error);
      return;
    }
    const wait = Math.max(this.#waitMs, Math.min(error.retryAfterMs ?? 0, longestWaitMs));
    this.#waitMs = Math.min(this.#waitMs * 2, longestWaitMs);
    // Spread: a thousand pages lose the same server at the same moment.
    this.#timer = setTimeout(() => this.#run(), wait * (0.75 + Math.random() / 2));
  }

  async #read(reader) {
    const decoder = new TextDecoder();
    let buffer = '';
    let searched = 0;
    for (;;) {
      const silence = setTimeout(() => this.#abort?.abort(), silenceMs);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done || this.#closed) return;
      buffer += decoder.decode(value, { stream: true });
      for (let end; (end = buffer.indexOf('\n\n', searched)) >= 0; searched = 0) {
        this.#dispatch(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
      }
      // A snapshot comes in many pieces, none of which is searched twice.
      searched = Math.max(0, buffer.length - 1);
    }
  }

  #dispatch(block) {
    let name = 'message';
    const data = [];
    for (const line of block.split('\n')) {
      if (line.startsWith('event:')) name = line.slice(6).trim();
      else if (line.startsWith('data:')) data.push(line.slice(5));
    }
    if (!data.length || this.#closed) return;
    this.#waitMs = firstWaitMs;
    guarded(() => this.#handlers.onEvent(name, parse(data.join('\n'))));
  }
}
