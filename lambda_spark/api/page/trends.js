/** The view of trends: any range, ranked by one of three rules. */

import { h, refill, visit } from "./dom.js";
import { besides, keepFresh } from "./fresh.js";
import { rangePicker } from "./range_picker.js";
import { askTrends } from "./ranges.js";
import { link } from "./router.js";
import { nothing } from "./states.js";
import { trendTable } from "./trend_table.js";
import { amount, bucketName, perBucket, range } from "./words.js";

const PAUSE = 3000;
let opened = null;

/** Show the trends for the parameters in the address. */
export function trends(place, { query }, signal) {
  document.title = "Trends · lambda-spark";
  const picker = rangePicker(query);
  const result = h("div", { id: "trends-result" });
  refill(place, h("h1", { tabindex: "-1" }, "Trending products"), picker.element, result);
  const question = (until) => askTrends(query, until);
  keepFresh(
    result,
    signal,
    question,
    (answer) => {
      picker.learn(answer);
      queueMicrotask(comeBack); // after the table is on the page
      return drawn(answer);
    },
    PAUSE,
  );
}

/** Move the focus to the row of the product that was opened before. */
function comeBack() {
  const opener = opened && document.getElementById(`open-${opened}`);
  if (opener && document.activeElement.matches("h1, body")) visit(opener);
  opened = null;
}

function drawn(answer) {
  const { window, trends: rows } = answer;
  const total = answer.shop.reduce((sum, count) => sum + count, 0);
  const lead = `${range(window)}, in buckets of ${bucketName(window.bucket)}; ${amount(total, "event")} in the whole shop`;
  if (rows.length === 0) {
    return [
      h("p", { class: "lead" }, lead),
      nothing("No product trends in this range", "No product has enough events in it. Ask for a longer range."),
      ...besides(answer),
    ];
  }
  const open = { from: window.from, to: window.to, bucket: window.bucket };
  return [
    h("p", { class: "lead" }, lead),
    trendTable(
      answer,
      (id) => link("products", id, open),
      (id) => (opened = id),
    ),
    h(
      "p",
      { class: "hint legend" },
      `Bars: events ${perBucket(window.bucket)}, the last one in colour, each product on a scale of its own. `,
      "Increase: events of the last bucket against the first. Growth: users of the latest buckets against the earlier ones, relative to the whole shop; the trend score is its logarithm. ",
      "Confidence: confirmed where the growth is 3 standard deviations or more beyond chance, emerging at 2 to 3.",
    ),
    ...besides(answer),
  ];
}
