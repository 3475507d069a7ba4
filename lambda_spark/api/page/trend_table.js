/** The table of trends: one row per product, which opens it. */

import { h } from "./dom.js";
import { moveByKeys, sparkline } from "./sparkline.js";
import { table } from "./table.js";
import { bucketLabels, category, clean, increase, number, percent, perBucket, range, signed } from "./words.js";

/** Create the table of an answer of /v1/trends; `href(id)` links to a product, `take(id)` is called when it is opened. */
export function trendTable(answer, href, take) {
  const { window, bucket_starts: starts, shop } = answer;
  const labels = bucketLabels(starts, window.bucket);
  const sparks = new Map(answer.trends.map((trend) => [trend.product_id, spark(trend, labels, window.bucket, shop)]));
  const columns = [
    { name: "#", kind: "number rank", cell: (trend) => number(trend.rank) },
    {
      name: "Product",
      kind: "number product",
      isHead: true,
      cell: (trend) => opener(trend, href(trend.product_id), take, sparks.get(trend.product_id), labels.length),
    },
    { name: "Brand", kind: "text brand", cell: (trend) => clean(trend.brand) },
    {
      name: "Category",
      kind: "text category",
      cell: (trend) => h("span", { title: trend.category_code }, category(trend.category_code)),
    },
    {
      name: `Events ${perBucket(window.bucket)}`,
      kind: "sparks",
      cell: (trend) => sparks.get(trend.product_id).element,
    },
    { name: "Events", kind: "number events", cell: (trend) => number(trend.event_count) },
    { name: "Users", kind: "number users", cell: (trend) => number(trend.user_count) },
    { name: "Increase", kind: "number increase", cell: increase },
    { name: "Growth", kind: "number growth", cell: (trend) => percent(trend.growth_pct) },
    { name: "Score", kind: "number score", cell: (trend) => signed(trend.trend_score, 2) },
    {
      name: "Confidence",
      kind: "confidence",
      cell: (trend) => h("span", { class: trend.confidence }, clean(trend.confidence)),
    },
  ];
  const rowAttributes = (trend) => ({
    id: `trend-${trend.product_id}`,
    click: (event) =>
      event.target.closest("a") ||
      getSelection().toString() ||
      document.getElementById(`open-${trend.product_id}`).click(),
  });
  const made = table(`Trending products, ${range(window)}`, columns, answer.trends, {
    id: "trends-table",
    kind: "stack opens",
    rowAttributes,
  });
  made.addEventListener("keydown", moveByRows);
  return made;
}

function opener({ product_id: id, brand, rank }, href, take, shape, length) {
  const name = `Product ${id}, ${clean(brand)}, rank ${rank}`;
  const anchor = h("a", { id: `open-${id}`, href, "aria-label": name, click: () => take(id) }, id);
  moveByKeys(anchor, shape, length);
  return anchor;
}

function spark(trend, labels, bucket, shop) {
  const label = (place) => `${labels[place]}: ${number(trend.buckets[place])} of ${number(shop[place])} in the shop`;
  return sparkline(trend.buckets, { name: `Events ${perBucket(bucket)} of product ${trend.product_id}`, label });
}

function moveByRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.matches("a")) return;
  event.preventDefault();
  const links = [...event.currentTarget.querySelectorAll("tbody a")];
  links[links.indexOf(event.target) + step]?.focus();
}
