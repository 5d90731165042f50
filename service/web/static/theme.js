// Sets the theme before the first paint; a module would run after it.
(() => {
  const chosen = localStorage.getItem("winnow-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
