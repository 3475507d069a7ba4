/** Elements of the page. All text is added as text here, so that nothing in an event is ever read as HTML. */

import { printable } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Create an element. Attributes that are functions listen to the event of their name; null and false are left out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Create an element of an SVG image. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Return a sentence in which `words like these` are code. */
export function sentence(text) {
  return text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));
}

/** Replace the content of an element; an element with the same id as the focused one gets the focus. */
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

/** Move the focus to an element and scroll it into view. */
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
