// What this browser keeps for its user. A browser may forbid it; then nothing is.

export function kept(key) {
  try {
    return localStorage.getItem(`tailwater.${key}`);
  } catch {
    return null;
  }
}

export function keep(key, text) {
  try {
    localStorage.setItem(`tailwater.${key}`, text);
  } catch {
    // It lasts as long as the page.
  }
}
