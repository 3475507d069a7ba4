/** Events per second of the topic and of both layers, over the last two minutes. */

import { h, refill } from "./dom.js";
import { feed } from "./feed.js";
import { sparkline } from "./sparkline.js";
import { NOTHING, number } from "./words.js";

const KEPT = 120;
const NAMES = { topic: "Topic", batch: "Batch layer", speed: "Speed layer" };
const samples = [];

// Remembered while other views are shown, too.
feed.addEventListener("status", ({ detail }) => {
  samples.push(detail.events_per_second);
  samples.splice(0, samples.length - KEPT);
});

/** Create the charts. Their `draw()` shows the rates up to now. */
export function rateCharts() {
  const rows = Object.entries(NAMES).map(([key, name]) => ({
    key,
    name,
    figure: h("b", { id: `rate-${key}` }),
    chart: h("div", { class: "rate-chart" }),
  }));
  const element = h(
    "dl",
    { id: "rates", class: "rates" },
    rows.map(({ name, figure, chart }) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, figure, " per s"), h("dd", {}, chart)),
    ),
  );
  return { element, draw: () => samples.length && draw(rows, samples) };
}

function draw(rows, kept) {
  const top = Math.max(1, ...kept.flatMap((rates) => Object.values(rates)));
  for (const { key, name, figure, chart } of rows) {
    const now = kept.at(-1)[key];
    figure.textContent = now === null ? NOTHING : number(now);
    if (chart.matches(":hover")) continue; // somebody is reading it
    const counts = [...Array(KEPT - kept.length).fill(0), ...kept.map((rates) => rates[key] ?? 0)];
    const label = (place) => `${age(KEPT - 1 - place)}: ${number(counts[place])} per s`;
    refill(chart, sparkline(counts, { name: `${name}, events per second`, label, top }).element);
  }
}

function age(seconds) {
  return seconds === 0 ? "now" : `${seconds} s ago`;
}
