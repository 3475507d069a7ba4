/** The form above the trends: range, buckets, ranking rule, number. It writes its values to the address. */

import { h } from "./dom.js";
import { RANGES } from "./ranges.js";
import { go, link } from "./router.js";

const BUCKETS = ["day", "6 hours", "hour", "30 minutes", "10 minutes"];
const RULES = { trend_score: "trend score", total_pct_increase: "total increase", events: "events" };
const TOP = "20";

/** Create the form from the address. Its `learn(answer)` fills in the server's defaults. */
export function rangePicker(query) {
  const inputs = {
    from: h("input", { id: "from" }),
    to: h("input", { id: "to" }),
    bucket: choice("bucket", BUCKETS),
    rule: choice("rank_by", Object.keys(RULES), RULES),
    top: h("input", { id: "top", type: "number", min: 1, max: 100, value: query.top ?? TOP }),
  };
  let taken = { window: { from: query.from ?? "", to: query.to ?? "", bucket: query.bucket ?? "day" } };
  let isTouched = false;
  const learn = (answer) => {
    if (isTouched) return;
    taken = answer;
    fill(inputs, taken.window);
  };
  const submit = (event) => {
    event.preventDefault();
    go(link("trends", "", parametersOf(inputs, taken.window, query)));
  };
  const form = h(
    "form",
    { id: "range-picker", class: "picker", "aria-label": "What to show", submit },
    field("From (UTC)", inputs.from),
    field("To, not included", inputs.to),
    field("Bucket", inputs.bucket),
    field("Rank by", inputs.rule),
    field("Products", inputs.top),
    h("button", { id: "show", class: "main" }, "Show"),
  );
  form.addEventListener("input", () => (isTouched = true));
  inputs.rule.value = query.rank_by ?? "trend_score";
  inputs.bucket.addEventListener("change", () =>
    fill(inputs, { from: inputs.from.value, to: inputs.to.value, bucket: inputs.bucket.value }),
  );
  fill(inputs, taken.window);
  return { element: h("div", {}, presets(query), form), learn };
}

function presets(query) {
  const links = Object.entries(RANGES).map(([range, name]) => {
    const isShown = !query.from && !query.to && (query.range ?? "") === range;
    return h(
      "a",
      {
        id: `range-${range || "default"}`,
        href: link("trends", "", { range, top: query.top, rank_by: query.rank_by }),
        "aria-current": isShown ? "true" : null,
      },
      name,
    );
  });
  return h("p", { class: "presets", role: "group", "aria-label": "Ranges" }, links);
}

/** Show the window: dates for days, with a time of day for finer buckets. */
function fill({ from, to, bucket }, window) {
  if (![...bucket.options].some(({ value }) => value === window.bucket)) bucket.append(h("option", {}, window.bucket));
  bucket.value = window.bucket;
  const areDays =
    bucket.value === "day" && [window.from, window.to].every((at) => !at || instant(at).endsWith("T00:00"));
  for (const [input, at] of [
    [from, window.from],
    [to, window.to],
  ]) {
    input.type = areDays ? "date" : "datetime-local";
    input.value = instant(at).slice(0, areDays ? 10 : 16);
  }
}

function parametersOf({ from, to, bucket, rule, top }, taken, query) {
  const isSame = instant(from.value) === instant(taken.from) && instant(to.value) === instant(taken.to);
  const ends = isSame && !query.from && !query.to ? { range: query.range } : { from: from.value, to: to.value };
  return {
    ...ends,
    bucket: bucket.value === taken.bucket && !query.bucket ? null : bucket.value,
    rank_by: rule.value === "trend_score" ? null : rule.value,
    top: top.value === TOP ? null : top.value,
  };
}

/** Return a date, or an instant of any precision, to the minute: 2019-11-01T00:00. */
function instant(text) {
  return /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00` : text.replace(" ", "T").slice(0, 16);
}

function choice(id, values, names = {}) {
  return h(
    "select",
    { id },
    values.map((value) => h("option", { value }, names[value] ?? value)),
  );
}

function field(name, input) {
  return h("div", { class: "field" }, h("label", { for: input.id }, name), input);
}
