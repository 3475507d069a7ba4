/** A small chart of counts: a bar for each, the last one in colour; counts are shown to pointer, keyboard and screen reader. */

import { svg } from "./dom.js";
import { hideTip, showTip } from "./tip.js";

const HEIGHT = 100;
const MOST_SEPARATE_BARS = 40;
const MOST_LABELS = 31;

/**
 * Create a sparkline. `label(place)` is the text of a count, `name` what is counted, `top` the count at full height.
 * Returns its `element`, and `show(place)` and `hide()` for the keyboard.
 */
export function sparkline(counts, { name, label, top = Math.max(...counts, 1) }) {
  const cursor = svg("path", { class: "cursor" });
  const element = svg(
    "svg",
    {
      class: "spark",
      role: "img",
      "aria-label": summary(counts, name, label),
      viewBox: `0 0 ${counts.length || 1} ${HEIGHT}`,
      preserveAspectRatio: "none",
    },
    svg("path", { class: "rest", d: bars(counts.slice(0, -1), top) }),
    svg("path", { class: "last", d: bars(counts, top, counts.length - 1) }),
    cursor,
  );
  const show = (place) => {
    const box = element.getBoundingClientRect();
    cursor.setAttribute("d", `M${place} 0h1v${HEIGHT}h-1z`);
    showTip(label(place), box.left + ((place + 0.5) / counts.length) * box.width, box.top);
  };
  const hide = () => {
    cursor.setAttribute("d", "");
    hideTip();
  };
  element.addEventListener("pointermove", (event) => {
    const box = element.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left) / box.width) * counts.length);
    if (counts.length) show(Math.min(Math.max(place, 0), counts.length - 1));
  });
  element.addEventListener("pointerleave", hide);
  return { element, show, hide };
}

/** Let the arrow keys move along a sparkline while `target` has the focus. */
export function moveByKeys(target, spark, length) {
  let place = length - 1;
  target.addEventListener("focus", () => target.matches(":focus-visible") && spark.show((place = length - 1)));
  target.addEventListener("blur", spark.hide);
  target.addEventListener("keydown", (event) => {
    const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    spark.show((place = Math.min(Math.max(next, 0), length - 1)));
  });
}

function bars(counts, top, first = 0) {
  const gap = counts.length < MOST_SEPARATE_BARS ? 0.1 : 0;
  return counts
    .slice(first)
    .map((count, place) => {
      const height = (count / top) * HEIGHT;
      return `M${first + place + gap} ${HEIGHT}v${-height}h${1 - 2 * gap}v${height}z`;
    })
    .join("");
}

function summary(counts, name, label) {
  if (counts.length === 0) return `${name}: none yet`;
  const places = [...counts.keys()];
  if (counts.length <= MOST_LABELS) return `${name}. ${places.map(label).join("; ")}`;
  const highest = counts.indexOf(Math.max(...counts));
  return `${name}. First ${label(0)}; highest ${label(highest)}; last ${label(counts.length - 1)}`;
}
