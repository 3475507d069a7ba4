/** The form above a user: id, number of recommendations, moment. It writes its values to the address. */

import { h } from "./dom.js";
import { go, link } from "./router.js";

/** Create the form for a user, or for none. */
export function userPicker(id, query) {
  const user = h("input", {
    id: "user-id",
    inputmode: "numeric",
    pattern: "\\s*-?[0-9]+\\s*",
    title: "A user's id: digits only",
    required: true,
    autocomplete: "off",
    value: id,
  });
  const number = h("input", { id: "n", type: "number", min: 1, max: 50, value: query.n ?? "10" });
  const asOf = h("input", {
    id: "as-of",
    type: "datetime-local",
    value: (query.as_of ?? "").replace(" ", "T").slice(0, 16),
  });
  const fallback = h("input", { id: "fallback", type: "checkbox", checked: query.fallback === "true" });
  const submit = (event) => {
    event.preventDefault();
    const parameters = {
      n: number.value === "10" ? null : number.value,
      as_of: asOf.value,
      fallback: fallback.checked ? "true" : null,
    };
    go(link("users", user.value.trim(), { ...query, ...parameters }));
  };
  return h(
    "form",
    { id: "user-picker", class: "picker", "aria-label": "Which user to show", submit },
    h("div", { class: "field" }, h("label", { for: "user-id" }, "User id"), user),
    h("div", { class: "field" }, h("label", { for: "n" }, "Products, at most"), number),
    h("div", { class: "field" }, h("label", { for: "as-of" }, "As of (UTC), empty: now"), asOf),
    h("div", { class: "field tick" }, fallback, h("label", { for: "fallback" }, "Fill up with top trends")),
    h("button", { id: "show", class: "main" }, "Show"),
    id ? h("a", { href: link("users") }, "Pick another user") : null,
  );
}
