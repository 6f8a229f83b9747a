// Light or dark before the first paint: what was chosen here, else what the
// system says. A classic script, because modules run too late for that.
(() => {
  const key = 'tailwater.theme';
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  try {
    chosen = localStorage.getItem(key);
  } catch {
    // A browser may forbid it: then the system decides.
  }
  const theme = () => chosen || (dark.matches ? 'dark' : 'light');
  const apply = () => {
    document.documentElement.dataset.theme = theme();
  };
  dark.addEventListener('change', apply);
  apply();
  window.tailwaterTheme = {
    toggle() {
      chosen = theme() === 'dark' ? 'light' : 'dark';
      try {
        localStorage.setItem(key, chosen);
      } catch {
        // It lasts as long as the page.
      }
      apply();
    },
  };
})();
