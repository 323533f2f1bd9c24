// The grid of samples: only the cards in view, and that of the selected sample, are in the document.
import { cardId } from "./card.mjs";
import { element } from "./elements.mjs";

const MAX_HEIGHT = 15_000_000; // pixels: browsers can't scroll further
const MARGIN = 2; // rows of cards outside the view

/** Return how cards are arranged in a given width. */
export function arrange(width, isTiles, hasSparkline) {
  const extra = hasSparkline ? 16 : 0;
  if (!isTiles) return { columns: 1, width, height: (width < 640 ? 146 : 84) + extra };
  const columns = Math.max(1, Math.floor(width / (width < 640 ? 150 : 184)));
  const cardWidth = Math.floor(width / columns);
  return { columns, width: cardWidth, height: cardWidth + 54 + extra };
}

/** Return the grid; `draw(row, position, count)` makes a card, `onSelect` and `onOpen` get a position. */
export function createGrid(container, session, { isTiles, hasSparkline, draw, onSelect, onOpen }) {
  const canvas = element("div", { class: "canvas", role: "presentation" });
  container.append(canvas);
  const cards = new Map();
  let shape = arrange(container.clientWidth || 800, isTiles, hasSparkline);

  const find = (event) => session.rows.indexOf(Number(event.target.closest("[data-row]")?.dataset.row ?? -1));
  container.addEventListener("click", (event) => find(event) >= 0 && onSelect(find(event)));
  container.addEventListener("dblclick", (event) => find(event) >= 0 && onOpen(find(event)));
  container.addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });
  new ResizeObserver(() => layout()).observe(container);

  /** The height of all cards, and how far they are scrolled when the scroll bar is at its end. */
  function measure() {
    const height = Math.ceil(session.rows.length / shape.columns) * shape.height;
    const shown = Math.min(height, MAX_HEIGHT);
    const view = container.clientHeight;
    const scale = shown > view ? (height - view) / (shown - view) : 1;
    return { shown, view, scale };
  }

  function layout() {
    if (container.clientWidth === 0) return;
    const width = canvas.clientWidth;
    const next = arrange(width, isTiles, hasSparkline);
    const isNew = next.columns !== shape.columns || next.width !== shape.width || next.height !== shape.height;
    shape = next;
    canvas.style.height = `${measure().shown}px`;
    if (isNew) show();
    else render();
  }

  function render() {
    if (container.clientHeight === 0) return;
    const { scale, view } = measure();
    const count = session.rows.length;
    const top = container.scrollTop * scale;
    const first = Math.max(0, (Math.floor(top / shape.height) - MARGIN) * shape.columns);
    const last = Math.min(count, (Math.ceil((top + view) / shape.height) + MARGIN) * shape.columns);
    const positions = new Set(Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i));
    if (count > 0) positions.add(session.position);
    const wanted = new Map([...positions].map((position) => [session.rows[position], position]));
    for (const [row, card] of cards) {
      if (wanted.has(row)) continue;
      card.remove();
      cards.delete(row);
    }
    // From the last one on, so that the elements are in the order of the list, in which screen readers read them.
    let next = null;
    for (const [row, position] of [...wanted].sort((a, b) => b[1] - a[1])) {
      if (!cards.has(row)) cards.set(row, draw(row, position, count));
      const card = cards.get(row);
      if (card.parentNode === null || card.nextSibling !== next) canvas.insertBefore(card, next);
      place(card, position, container.scrollTop - top);
      next = card;
    }
    if (count > 0) container.setAttribute("aria-activedescendant", cardId(session.row));
    else container.removeAttribute("aria-activedescendant");
  }

  function place(card, position, offset) {
    const x = (position % shape.columns) * shape.width;
    const y = Math.floor(position / shape.columns) * shape.height + offset;
    card.style.transform = `translate(${x}px, ${y}px)`;
    card.style.width = `${shape.width}px`;
    card.style.height = `${shape.height}px`;
    const isSelected = position === session.position;
    card.setAttribute("aria-selected", String(isSelected));
    card.setAttribute("aria-posinset", position + 1);
    card.setAttribute("aria-setsize", session.rows.length);
  }

  /** Scroll until the selected card is in view. */
  function show() {
    const { scale, view } = measure();
    const y = Math.floor(session.position / shape.columns) * shape.height;
    const top = container.scrollTop * scale;
    if (y < top) container.scrollTop = y / scale;
    else if (y + shape.height > top + view) container.scrollTop = (y + shape.height - view) / scale;
    render();
  }

  return {
    show,
    /** Draw the cards of some samples again. */
    update(rows) {
      for (const row of rows) {
        cards.get(row)?.remove();
        cards.delete(row);
      }
      render();
    },
    /** The samples that are listed have changed. */
    relist() {
      canvas.style.height = `${measure().shown}px`;
      show();
    },
    layout,
    /** Return the position in a direction from the selected one; it may lie outside the list. */
    findNeighbour(direction) {
      const { columns } = shape;
      const page = Math.max(1, Math.floor(container.clientHeight / shape.height)) * columns;
      const steps = { left: -1, right: 1, up: -columns, down: columns, "page-up": -page, "page-down": page };
      const target = session.position + steps[direction];
      const last = session.rows.length - 1;
      const isInLastLine = Math.floor(session.position / columns) === Math.floor(last / columns);
      // In the first and the last line, the column stays.
      if ((direction === "up" && target < 0) || (direction === "down" && isInLastLine)) return session.position;
      return target;
    },
  };
}
