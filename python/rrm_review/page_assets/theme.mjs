// Light or dark: as the system has it, until the button is used.
import { byId } from "./elements.mjs";

const NAME = "rrm-review theme";

/** Connect the button; the choice is stored for all pages. */
export function createTheme(storage) {
  const root = document.documentElement;
  const isDark = () => {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  };
  try {
    const stored = storage?.getItem(NAME);
    if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  } catch {
    // Without a storage the system decides.
  }
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      storage?.setItem(NAME, root.dataset.theme);
    } catch {
      // The choice holds until the page is closed.
    }
  });
}
