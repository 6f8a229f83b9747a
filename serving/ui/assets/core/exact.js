// Numbers keep all their digits. A sum of integers is HUGEINT and a DECIMAL has
// up to 38 digits: JSON.parse would round both. parse gives a double where the
// double prints as the text did, and an Exact everywhere else.

export class Exact {
  #scaled;

  constructor(text) {
    this.text = text;
  }

  // Rows that do not change are added up again and again.
  get scaled() {
    return (this.#scaled ??= scaled(this.text));
  }

  // For pixels and for comparing roughly; never for showing.
  valueOf() {
    return Number(this.text);
  }

  toString() {
    return this.text;
  }
}

export const isNumber = (v) => typeof v === 'number' || v instanceof Exact;

const space = /[ \t\n\r]*/y;
const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const words = [['true', true], ['false', false], ['null', null]];

// parse reads one JSON text.
export function parse(text) {
  let at = 0;

  const fail = () => {
    throw new SyntaxError(`no JSON at character ${at}`);
  };
  const skip = () => {
    space.lastIndex = at;
    space.test(text);
    at = space.lastIndex;
  };
  const take = (c) => {
    skip();
    if (text[at] !== c) return false;
    at++;
    return true;
  };

  function string() {
    const from = at++;
    for (let escaped = false; ; ) {
      const c = text[at++];
      if (c === '"') {
        return escaped ? JSON.parse(text.slice(from, at)) : text.slice(from + 1, at - 1);
      }
      if (c === undefined) fail();
      if (c === '\\') {
        escaped = true;
        at++;
      }
    }
  }

  function object() {
    const out = {};
    if (take('}')) return out;
    do {
      skip();
      if (text[at] !== '"') fail();
      const name = string();
      if (!take(':')) fail();
      const v = value();
      // A column may be called __proto__.
      Object.defineProperty(out, name, { value: v, enumerable: true, writable: true, configurable: true });
    } while (take(','));
    if (!take('}')) fail();
    return out;
  }

  function array() {
    const out = [];
    if (take(']')) return out;
    do out.push(value());
    while (take(','));
    if (!take(']')) fail();
    return out;
  }

  function scalar() {
    number.lastIndex = at;
    if (number.test(text)) {
      const source = text.slice(at, number.lastIndex);
      at = number.lastIndex;
      const double = Number(source);
      return String(double) === source ? double : new Exact(source);
    }
    for (const [word, v] of words) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return v;
      }
    }
    return fail();
  }

  function value() {
    skip();
    switch (text[at]) {
      case '"':
        return string();
      case '{':
        at++;
        return object();
      case '[':
        at++;
        return array();
      default:
        return scalar();
    }
  }

  const out = value();
  skip();
  if (at !== text.length) fail();
  return out;
}

// scaled gives a number as an integer and the count of its decimal places, or
// null if it is written with an exponent.
function scaled(v) {
  const m = /^(-?)(\d+)(?:\.(\d+))?$/.exec(v);
  if (!m) return null;
  const places = m[3] ? m[3].length : 0;
  return { n: BigInt(m[1] + m[2] + (m[3] || '')), places };
}

function unscaled(n, places) {
  const sign = n < 0n ? '-' : '';
  const digits = (n < 0n ? -n : n).toString().padStart(places + 1, '0');
  const text = places ? `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}` : sign + digits;
  const double = Number(text);
  return String(double) === text ? double : new Exact(text);
}

// sum adds without losing a digit, unless one of the doubles has an exponent.
export function sum(values) {
  let small = 0;
  let n = 0n;
  let places = 0;
  let rough = null;
  for (const v of values) {
    if (!isNumber(v)) continue;
    if (Number.isSafeInteger(v) && Number.isSafeInteger(small + v)) {
      small += v;
      continue;
    }
    const s = v instanceof Exact ? v.scaled : scaled(String(v));
    if (!s) {
      rough = (rough ?? 0) + Number(v);
      continue;
    }
    if (s.places > places) {
      n *= 10n ** BigInt(s.places - places);
      places = s.places;
    }
    n += s.n * 10n ** BigInt(places - s.places);
  }
  const total = unscaled(n + BigInt(small) * 10n ** BigInt(places), places);
  return rough === null ? total : Number(total) + rough;
}

export function negate(v) {
  const text = String(v);
  return typeof v === 'number' ? -v : new Exact(text[0] === '-' ? text.slice(1) : '-' + text);
}

export const minus = (a, b) => sum([a, negate(b)]);

// compare orders values of one column, null last; strings by code point as the
// engine does.
export function compare(a, b) {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  if (isNumber(a) && isNumber(b)) {
    const rough = Number(a) - Number(b);
    if (rough !== 0 || (typeof a === 'number' && typeof b === 'number')) return rough;
    return Number(minus(a, b));
  }
  const x = typeof a === 'object' ? JSON.stringify(a) : String(a);
  const y = typeof b === 'object' ? JSON.stringify(b) : String(b);
  return x < y ? -1 : x > y ? 1 : 0;
}
