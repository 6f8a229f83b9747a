// Requests to the server that served this page, and to no other.

import { parse } from './exact.js';

// An ApiError carries what the server said, or that it said nothing.
export class ApiError extends Error {
  constructor(status, { code, message, hint, position }, retryAfterMs = null) {
    super(message);
    Object.assign(this, { status, code, hint, position, retryAfterMs });
  }

  get unreachable() {
    return this.status === 0;
  }

  get notReady() {
    return this.status === 503;
  }
}

export async function failure(response) {
  const seconds = Number(response.headers.get('Retry-After'));
  let error = null;
  try {
    const problem = parse(await response.text()); // RFC 9457
    if (problem.code) error = { ...problem, message: problem.detail };
  } catch {
    // Not ours: a proxy's page, or half an answer.
  }
  error ??= { code: 'http', message: `the server answered ${response.status}` };
  return new ApiError(response.status, error, seconds > 0 ? seconds * 1000 : null);
}

export const unreachable = () => new ApiError(0, { code: 'unreachable', message: 'the server cannot be reached' });

// request gives the answer's body, numbers exact. It throws an ApiError, or an
// AbortError if signal ended it.
export async function request(path, { method = 'GET', body, signal, timeoutMs } = {}) {
  const signals = [signal, timeoutMs && AbortSignal.timeout(timeoutMs)].filter(Boolean);
  let text;
  try {
    const response = await fetch(path, {
      method,
      cache: 'no-store',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signals.length ? AbortSignal.any(signals) : undefined,
    });
    if (!response.ok) throw await failure(response);
    text = await response.text();
  } catch (err) {
    if (err instanceof ApiError || signal?.aborted) throw err;
    throw unreachable();
  }
  return parse(text);
}

export const viewPath = (view) => `/v1/views/${encodeURIComponent(view)}`;
