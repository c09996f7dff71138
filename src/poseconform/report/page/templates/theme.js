"use strict";
// Runs before the page is painted, so that a dark page never flashes white.
const poseconformTheme = (() => {
  const order = ["auto", "light", "dark"];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = "auto";
  // A browser may forbid storage to files opened from disk: the choice then lasts as long as the page.
  try { chosen = localStorage.getItem("poseconform-theme") || "auto"; } catch (error) { chosen = "auto"; }
  if (!order.includes(chosen)) chosen = "auto";
  const show = () => {
    const name = chosen === "auto" ? (dark.matches ? "dark" : "light") : chosen;
    document.documentElement.dataset.theme = name;
  };
  dark.addEventListener("change", show);
  show();
  return {
    name: () => chosen,
    next: () => {
      chosen = order[(order.indexOf(chosen) + 1) % order.length];
      try { localStorage.setItem("poseconform-theme", chosen); } catch (error) { /* see above */ }
      show();
    },
  };
})();
