/** The large chart of a product, drawn by Vega-Lite, which is loaded when the first product is opened. */

import { h, refill } from "./dom.js";
import { hideTip, showTip } from "./tip.js";
import { bucketLabels, number } from "./words.js";

const [INK, SOFT, LINE, ACCENT, PAPER] = ["ink", "soft", "line", "accent", "paper"].map((name) => `var(--${name})`);
const SIZE = 14;
const MOST_SEPARATE_BARS = 62;
const DAY = 86_400_000;
let loading = null;
let shown = null;

/** Draw an answer of /v1/products into an element, which may not be on the page yet. */
export async function drawChart(place, answer) {
  try {
    await (loading ??= load());
    const made = await window.vegaEmbed(place, specification(answer), {
      actions: false,
      ast: true,
      renderer: "svg",
      tooltip: false,
    });
    shown?.finalize();
    shown = made;
    made.view.addEventListener("pointermove", (event, item) =>
      item?.datum?.label ? showTip(item.datum.label, event.clientX, event.clientY) : hideTip(),
    );
    place.addEventListener("pointerleave", hideTip);
  } catch (error) {
    loading = null;
    refill(
      place,
      h("p", { class: "hint" }, `The chart could not be drawn (${error.message}); the table below has its figures.`),
    );
  }
}

function load() {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error("vega.js was not loaded"));
    document.head.append(h("script", { src: "/page/vega.js", load: resolve, error: failed }));
  });
}

/** Return the shop's level in each bucket, scaled to the product's mean. */
function shopLevel(shop, counts) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return shop.map((count) => (mean(shop) ? (count / mean(shop)) * mean(counts) : 0));
}

function specification(answer) {
  const rows = bars(answer);
  const isLong = rows.at(-1).to - rows[0].from > 2 * DAY;
  const times = { field: "from", type: "temporal", scale: { type: "utc", nice: false } };
  const axis = {
    title: null,
    format: isLong ? "%-d %b" : "%H:%M",
    tickCount: { expr: "max(2, floor(width / 80))" },
    labelOverlap: "greedy",
    labelFlush: true,
    grid: false,
  };
  const counts = { type: "quantitative", title: null, axis: { tickCount: 5, format: ",~r", tickMinStep: 1 } };
  const last = rows.at(-1);
  return {
    width: "container",
    height: 300,
    background: "transparent",
    padding: { left: 0, top: 8, bottom: 0, right: 48 },
    autosize: { type: "fit", contains: "padding" },
    data: { values: rows },
    layer: [
      {
        mark: { type: "rect", color: ACCENT, stroke: PAPER, strokeWidth: rows.length > MOST_SEPARATE_BARS ? 0 : 1 },
        encoding: { x: { ...times, axis }, x2: { field: "to" }, y: { ...counts, field: "count" }, y2: { datum: 0 } },
      },
      ...[
        [PAPER, 5],
        [INK, 2],
      ].map(([color, strokeWidth]) => ({
        // an outline in the background's colour separates the line from the bars
        mark: { type: "line", interpolate: "step-after", color, strokeWidth },
        data: { values: [...rows, { ...last, from: last.to }] },
        encoding: { x: times, y: { ...counts, field: "level" } },
      })),
      {
        mark: {
          type: "text",
          text: "shop",
          align: "left",
          dx: 6,
          fontSize: SIZE,
          fontWeight: 600,
          color: INK,
          clip: false,
        },
        data: { values: [{ from: last.to, level: last.level }] },
        encoding: { x: times, y: { ...counts, field: "level" } },
      },
    ],
    config: {
      font: "system-ui, sans-serif",
      aria: false,
      mark: { aria: false },
      view: { stroke: null },
      axis: axisStyle(),
    },
  };
}

function bars({ bucket_starts: starts, buckets, shop, window }) {
  const from = starts.map((start) => new Date(start).getTime());
  const counts = buckets.map((bucket) => bucket.event_count);
  const levels = shopLevel(shop, counts);
  const labels = bucketLabels(starts, window.bucket);
  const end = new Date(window.to).getTime();
  return counts.map((count, place) => ({
    from: from[place],
    to: from[place + 1] ?? end,
    count,
    level: levels[place],
    label: `${labels[place]}: ${number(count)} events`,
  }));
}

function axisStyle() {
  return {
    labelColor: SOFT,
    titleColor: SOFT,
    gridColor: LINE,
    domain: false,
    ticks: false,
    labelFontSize: SIZE,
    labelPadding: 8,
    labelSeparation: 12,
  };
}
