/** The address names the view, as in #/trends?top=5 or #/users/5, so that every view can be linked to. */

import { visit } from "./dom.js";

/** Return the view that a hash names, the id in it, and its parameters. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, id = ""] = path.split("/");
  return { view, id: readable(id), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Return the hash of a view, without parameters that are null or empty. */
export function link(view, id = "", query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const parameters = new URLSearchParams(given).toString();
  return `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}${parameters ? `?${parameters}` : ""}`;
}

const seen = {};

/** Return the hash under which a view was last shown. */
export function lastOf(view) {
  return seen[view] ?? link(view);
}

/** Show another view. */
export function go(hash) {
  location.hash = hash;
}

/**
 * Show the view in the address, now and whenever it changes. `views` has a function for each name, called with the
 * element to fill, the view's id and parameters, and a signal that ends when the view is left.
 */
export function start(views, place, first) {
  let leaving = new AbortController();
  let before = null;
  const show = () => {
    const route = parse(location.hash);
    if (!(route.view in views)) return location.replace(first);
    leaving.abort();
    leaving = new AbortController();
    mark(route.view);
    seen[route.view] = location.hash;
    views[route.view](place, route, leaving.signal);
    if (before !== null && before !== `${route.view}/${route.id}`) arrive(place);
    before = `${route.view}/${route.id}`;
    return undefined;
  };
  window.addEventListener("hashchange", show);
  show();
}

function mark(view) {
  const shown = view === "products" ? "trends" : view;
  for (const tab of document.querySelectorAll("nav [data-view]")) {
    if (tab.dataset.view === shown) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

function arrive(place) {
  window.scrollTo(0, 0);
  visit(place.querySelector("h1"));
}

function readable(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}
