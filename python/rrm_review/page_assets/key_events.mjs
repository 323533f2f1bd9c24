// The keyboard: turns key presses into actions, by where the focus is.
import { readKey } from "./keys.mjs";

const SCROLLING = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"];

/** Call `act` with the action of each key press; `getView` returns the view that is shown. */
export function listenToKeys(getView, act) {
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof Element ? event.target : document.body;
    const scrolled = target.closest(".scrolls");
    const canScroll = scrolled !== null && scrolled.scrollHeight > scrolled.clientHeight;
    const action = readKey(event, {
      view: getView(),
      isTyping: target.closest("input:not([type=checkbox]), select, textarea") !== null,
      onButton: target.closest("button, a, summary, input") !== null,
      inScrolled: canScroll && SCROLLING.includes(event.key),
      inDialog: document.querySelector("dialog[open]") !== null,
    });
    if (action === null) return;
    event.preventDefault();
    act(action);
  });
}
