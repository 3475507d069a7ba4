/** What a view shows instead of its content: what is wrong and what to do. */

import { h, sentence } from "./dom.js";
import { link } from "./router.js";

const TITLES = {
  "not-ready": "Nothing ingested yet",
  "server-gone": "The server does not answer",
  "too-many-requests": "Too many requests",
  unauthorized: "A token is needed",
  "bad-range": "This range cannot be answered",
  "unknown-product": "No event of this product",
};

/** Show that the content is being loaded. */
export function waiting() {
  return h("p", { class: "hint waiting", role: "status" }, "Asking the server …");
}

/** Show a Problem with its remedy. */
export function stateOf(problem) {
  const title = TITLES[problem.kind] ?? problem.title;
  return h(
    "section",
    { class: "state", role: "alert", "data-state": problem.kind },
    h("h2", {}, title),
    problem.detail && problem.detail !== title ? h("p", {}, sentence(problem.detail)) : null,
    ...(HELP[problem.kind] ?? serversRemedy)(problem),
    problem.againAfter ? h("p", { class: "hint" }, "The page asks again by itself.") : null,
  );
}

/** Show that there is no content, though nothing is wrong. */
export function nothing(title, ...advice) {
  return h(
    "section",
    { class: "state", "data-state": "nothing" },
    h("h2", {}, title),
    ...advice.map((text) => h("p", {}, sentence(text))),
  );
}

const HELP = {
  "not-ready": (problem) => [
    ...serversRemedy(problem),
    h(
      "p",
      {},
      sentence("To begin with: `make live` starts everything while you watch, `make recommend` runs every step once."),
    ),
  ],
  "unknown-user": (problem) => [
    h(
      "p",
      { class: "ways" },
      h(
        "a",
        { class: "button", href: link("users", problem.value ?? "", { fallback: "true" }) },
        "Show the top trends instead",
      ),
      h("a", { href: link("users") }, "Pick a user"),
    ),
  ],
  "unknown-product": (problem) => [
    ...serversRemedy(problem),
    h("p", { class: "ways" }, h("a", { href: link("trends") }, "Trending products")),
  ],
  "bad-range": (problem) => [
    ...serversRemedy(problem),
    h("p", { class: "ways" }, h("a", { href: location.hash.split("?")[0] }, "Show the default range")),
  ],
  "server-gone": () => [h("p", {}, "Start it with ", h("code", {}, "make serve"), ".")],
  unauthorized: () => [h("p", {}, h("button", { click: () => location.reload() }, "Enter a token"))],
};

function serversRemedy(problem) {
  return problem.remedy ? [h("p", {}, sentence(problem.remedy))] : [];
}
