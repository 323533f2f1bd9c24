// Elements of the document. Data reaches the document only here: as text and as attributes.

/** Return an element by its id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return a new element with attributes and children; `text` is its text, `onclick` and the like are listeners. */
export function element(tag, attributes = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Return text of the data: its direction of writing can't affect what is beside it. */
export function isolated(text, attributes = {}) {
  return element("bdi", { ...attributes, text });
}

/** Return a new SVG element with attributes. */
export function svgElement(tag, attributes, children = []) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
