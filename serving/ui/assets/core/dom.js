// A few lines instead of a framework: elements are made once and their text is
// changed in place, so that focus, selection and scrolling stay where they are.

const svgNamespace = 'http://www.w3.org/2000/svg';

function fill(el, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [property, v] of Object.entries(value)) el.style.setProperty(property, v);
    else el.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) el.append(child);
  }
  return el;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(svgNamespace, tag), attributes, children);

// set writes text only where it differs: an unchanged node costs no layout.
export function set(el, text) {
  const value = String(text);
  if (el.textContent !== value) el.textContent = value;
}

export function attributes(el, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === false) el.removeAttribute(name);
    else if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value === true ? '' : value);
  }
}

// eachFrame gives a function that asks for one call of draw in the next frame,
// however often it is called until then. A drawing that takes long is followed by
// a rest four times as long: a large view must not take a whole core.
export function eachFrame(draw) {
  let frame = 0;
  let timer = 0;
  let restUntil = 0;
  const ask = () => {
    if (frame || timer) return;
    const restMs = restUntil - performance.now();
    if (restMs > 5) {
      timer = setTimeout(() => {
        timer = 0;
        restUntil = 0;
        ask();
      }, restMs);
      return;
    }
    frame = requestAnimationFrame(() => {
      frame = 0;
      const startedAt = performance.now();
      draw();
      const now = performance.now();
      restUntil = now + 4 * (now - startedAt);
    });
  };
  ask.cancel = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = timer = 0;
  };
  return ask;
}

export const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

// flash marks what has just changed, and fades.
export function flash(el) {
  if (!calm()) el.animate([{ backgroundColor: 'var(--flash)' }, { backgroundColor: 'transparent' }], { duration: 1200, easing: 'ease-out' });
}

// cellNode shows a formatted value.
export function cellNode(c) {
  return h('span', { class: `cell-${c.kind}`, title: c.title }, c.text);
}
