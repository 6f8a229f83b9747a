// A value that tells when it changes. watch calls at once and returns the way out.

// guarded calls, and keeps one panel's mistake from stopping the others.
export function guarded(call, ...args) {
  try {
    call(...args);
  } catch (err) {
    reportError(err);
  }
}

export class Signal {
  #watchers = new Set();

  constructor(value) {
    this.value = value;
  }

  set(value) {
    this.value = value;
    for (const watcher of [...this.#watchers]) {
      if (this.#watchers.has(watcher)) guarded(watcher, value);
    }
  }

  watch(watcher) {
    this.#watchers.add(watcher);
    guarded(watcher, this.value);
    return () => this.#watchers.delete(watcher);
  }
}

// Cleanup collects what a panel must undo when it goes.
export class Cleanup {
  #steps = [];

  add(step) {
    this.#steps.push(step);
  }

  listen(target, type, handler, options) {
    target.addEventListener(type, handler, options);
    this.add(() => target.removeEventListener(type, handler, options));
  }

  every(ms, work) {
    const timer = setInterval(work, ms);
    this.add(() => clearInterval(timer));
  }

  run() {
    for (const step of this.#steps.splice(0).reverse()) guarded(step);
  }
}
