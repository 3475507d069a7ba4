/** Elements of the page. All text goes in here, as text: nothing that an event holds is ever read as HTML. */

import { printable } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. Attributes that are functions listen to the event of their name; null and false leave one out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Make an element of an SVG image. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Return a sentence in which `words like these` are code. */
export function sentence(text) {
  return text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));
}

/** Put other content into an element; what had the focus keeps it, if the new content has the same id. */
export function refill(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(
    ...children
      .flat()
      .filter((child) => child !== null)
      .map(asNode),
  );
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Move the focus to an element, and let it be seen. */
export function visit(element) {
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : printable(value));
  }
  element.append(
    ...children
      .flat()
      .filter((child) => child !== null)
      .map(asNode),
  );
  return element;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(printable(child));
}
