/** The view of one product: its buckets compared with the level of the whole shop, and its counts by type. */

import { ask } from "./api.js";
import { drawChart } from "./chart.js";
import { h, refill } from "./dom.js";
import { besides, keepFresh } from "./fresh.js";
import { go, lastOf, link } from "./router.js";
import { scrollable, table } from "./table.js";
import { bucketLabels, bucketName, clean, number, perBucket, range } from "./words.js";

const PAUSE = 3000;
const TYPES = {
  Views: "view_count",
  Carts: "cart_count",
  Removals: "remove_count",
  Purchases: "purchase_count",
  Events: "event_count",
  Users: "user_count",
};

/** Show the product in the address. Escape leads back to the trends. */
export function product(place, { id, query }, signal) {
  document.title = `Product ${id} · lambda-spark`;
  const back = lastOf("trends");
  const result = h("div", { id: "product-result" });
  refill(
    place,
    h("p", { class: "back" }, h("a", { id: "back", href: back }, "← Trending products")),
    h("h1", { tabindex: "-1" }, `Product ${id}`),
    result,
  );
  document.addEventListener(
    "keydown",
    (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && go(back),
    { signal },
  );
  const { from, to, bucket } = query;
  keepFresh(
    result,
    signal,
    (until) => ask(`/v1/products/${encodeURIComponent(id)}`, { from, to, bucket }, until),
    (answer) => drawn(answer, Boolean(from || to || bucket)),
    PAUSE,
  );
}

function drawn(answer, isNarrowed) {
  const { window } = answer;
  const chart = h("div", {
    id: "product-chart",
    class: "chart",
    role: "img",
    "aria-label": `Events of the product and level of the shop ${range(window)}; the table below has the figures.`,
  });
  drawChart(chart, answer);
  return [
    h(
      "dl",
      { class: "facts" },
      fact("Brand", clean(answer.brand)),
      fact("Category", clean(answer.category_code)),
      fact("Last price", answer.last_price === null ? clean(null) : number(answer.last_price, 2)),
      fact("Range", range(window)),
      fact("Buckets", bucketName(window.bucket)),
      isNarrowed
        ? fact("Other ranges", h("a", { href: link("products", answer.product_id) }, "the last 30 days held"))
        : null,
    ),
    h(
      "section",
      { "aria-labelledby": "chart-title" },
      h("h2", { id: "chart-title" }, `Events ${perBucket(window.bucket)}`),
      h(
        "p",
        { class: "hint" },
        h("b", { class: "key" }, "In colour"),
        ": this product. ",
        h("b", {}, "Line"),
        ": the whole shop, scaled to the product's mean. Where a bar rises above the line, the product did better than the shop.",
      ),
      chart,
    ),
    h(
      "section",
      { "aria-labelledby": "counts-title" },
      h("h2", { id: "counts-title" }, "Counts by type"),
      scrollable("Table of counts", countsTable(answer)),
    ),
    ...besides(answer),
  ];
}

function countsTable({ bucket_starts: starts, buckets, shop, window }) {
  const labels = bucketLabels(starts, window.bucket);
  const rows = [...buckets.keys()].map((place) => ({ label: labels[place], ...buckets[place], shop: shop[place] }));
  const sum = (column) => rows.reduce((total, row) => total + row[column], 0);
  const counts = { ...TYPES, "Shop's events": "shop" };
  const total = Object.fromEntries(
    Object.values(counts).map((column) => [column, column === "user_count" ? null : sum(column)]),
  );
  const columns = [
    { name: "Bucket (UTC)", isHead: true, kind: "when", cell: (row) => row.label },
    ...Object.entries(counts).map(([name, column]) => ({ name, kind: "number", cell: (row) => number(row[column]) })),
  ];
  const caption = "Distinct users are those of one bucket: they do not add up.";
  return table(caption, columns, [...rows, { label: "All", ...total }], { id: "product-table", kind: "totalled" });
}

function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
