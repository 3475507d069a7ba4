/** A user's recommendations and brands, side by side, with links between those that belong together. */

import { h, visit } from "./dom.js";
import { link } from "./router.js";
import { table } from "./table.js";
import { ago, clean, minute, number, range } from "./words.js";

/** Create the table of recommendations, with their reasons in words. */
export function recommendationTable({ window, as_of: asOf, recommendations: rows }) {
  const columns = [
    { name: "#", kind: "number rank", cell: (row) => number(row.rank) },
    { name: "Product", kind: "text product", isHead: true, cell: (row) => product(row, window) },
    { name: "Reason", kind: "reason", cell: (row) => clean(row.reason) },
    { name: "Brand met", kind: "match", cell: matchedBrand },
  ];
  const rowAttributes = (row) => ({
    id: `recommended-${row.rank}`,
    tabindex: "-1",
    "data-brand": row.is_fallback ? null : row.brand,
    ...lighting(row),
  });
  return table(
    `Trends of ${range(window)}, ${asOf ? `as of ${minute(asOf)} UTC` : "as of now"}, best first`,
    columns,
    rows,
    { id: "recommendations-table", kind: "stack", rowAttributes },
  );
}

/** Create the table of recent brands; those that led to a recommendation are marked. */
export function brandTable(brands, recommended, now) {
  const ranks = Map.groupBy(
    recommended.filter((row) => !row.is_fallback),
    (row) => row.brand,
  );
  const columns = [
    { name: "#", kind: "number rank", cell: (row) => number(row.position) },
    { name: "Brand", kind: "text", isHead: true, cell: (row) => clean(row.brand) },
    {
      name: "Age",
      kind: "age",
      cell: (row) =>
        h("time", { datetime: row.last_seen_at, title: `${minute(row.last_seen_at)} UTC` }, ago(row.last_seen_at, now)),
    },
    { name: "Led to", kind: "match", cell: (row) => ledTo(ranks.get(row.brand) ?? []) },
    { name: "Last seen (UTC)", kind: "seen", cell: (row) => minute(row.last_seen_at) },
  ];
  const rowAttributes = (row) => ({
    id: `brand-${row.position}`,
    tabindex: "-1",
    "data-brand": row.brand,
    class: ranks.has(row.brand) ? "matched" : null,
    ...lighting(row),
  });
  return table(
    `${number(brands.length)} of at most 50, newest first; age told from the newest event`,
    columns,
    brands,
    { id: "brands-table", kind: "stack", rowAttributes },
  );
}

function product(row, window) {
  const { from, to, bucket } = window;
  const name = `Product ${row.product_id}, ${clean(row.brand)}`;
  return [
    h("a", { href: link("products", row.product_id, { from, to, bucket }), "aria-label": name }, row.product_id),
    h("br"),
    clean(row.brand),
  ];
}

function matchedBrand(row) {
  if (row.is_fallback) return "fallback";
  return jump(
    `brand-${row.brand_position}`,
    `no. ${row.brand_position}`,
    `Brand no. ${row.brand_position}, ${clean(row.brand)}`,
  );
}

function ledTo(rows) {
  return rows.flatMap((row, place) => [
    place ? " " : "",
    jump(`recommended-${row.rank}`, `→ ${row.rank}`, `Recommendation ${row.rank}, product ${row.product_id}`),
  ]);
}

function jump(id, text, name) {
  return h("button", { class: "plain", "aria-label": name, click: () => visit(document.getElementById(id)) }, text);
}

/** Highlight the rows of the brand under the pointer in both tables. */
function lighting({ brand }) {
  const light = (isLit) => () => {
    for (const row of document.querySelectorAll("tr[data-brand]"))
      row.classList.toggle("lit", isLit && row.dataset.brand === String(brand));
  };
  return { pointerenter: light(true), pointerleave: light(false) };
}
