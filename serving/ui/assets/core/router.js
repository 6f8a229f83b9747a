// Routes live behind the #: the server knows one page.

import { Signal } from './signal.js';

// read gives {name, params: [...], query}.
function read() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name = '', ...params] = path.split('/').map(decodeURIComponent);
  return { name: name || 'overview', params, query: new URLSearchParams(query) };
}

export const route = new Signal(read());
addEventListener('hashchange', () => route.set(read()));

export const href = (name, ...params) => `#/${[name === 'overview' ? '' : name, ...params].map(encodeURIComponent).join('/')}`;

export const sqlHref = (statement) => `#/sql?${new URLSearchParams({ q: statement })}`;

export function go(hash) {
  location.hash = hash;
}
