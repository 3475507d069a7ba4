/** Numbers, instants and ages as text, formatted as in the console and the report. */

export const NOTHING = "\u2013"; // an en dash
const MINUS = "\u2212";
const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** Return text with unprintable characters (control, bidi and zero-width) escaped. */
export function printable(text) {
  return String(text).replace(UNPRINTABLE, escaped);
}

/** Return text of an event that is safe to show, or a dash if it is empty. */
export function clean(text) {
  return text === null || text === undefined || text === "" ? NOTHING : printable(text);
}

/** Return a number with separators and a fixed number of decimals: 4,210. */
export function number(value, decimals = 0) {
  if (value === null || value === undefined) return NOTHING;
  const format = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return value.toLocaleString("en-US", format).replace("-", MINUS);
}

/** Return a number with its sign: +1.31. */
export function signed(value, decimals = 0) {
  if (value === null || value === undefined) return NOTHING;
  const text = number(value, decimals);
  return text.startsWith(MINUS) ? text : `+${text}`;
}

/** Return a change with its sign: +240 %. */
export function percent(value) {
  return value === null || value === undefined ? NOTHING : `${signed(value)} %`;
}

/** Return the total increase of a trend: from its first to its last bucket, or `new` if the first was empty. */
export function increase(trend) {
  return trend.is_new ? "new" : percent(trend.total_pct_increase);
}

/** Return the last part of a category code: `smartphone` of `electronics.smartphone`. */
export function category(code) {
  return clean(code).split(".").at(-1);
}

/** Return an instant in UTC, to the minute: 2019-11-07 22:10. */
export function minute(instant) {
  return instant ? new Date(instant).toISOString().slice(0, 16).replace("T", " ") : NOTHING;
}

/** Return an instant in UTC, to the second: 2019-11-07 22:10:05. */
export function second(instant) {
  return instant ? new Date(instant).toISOString().slice(0, 19).replace("T", " ") : NOTHING;
}

/** Return a half-open range: 2019-11-01 to 2019-11-08 UTC. */
export function range(window) {
  const ends = [minute(window.from), minute(window.to)];
  const areDays = ends.every((end) => end.endsWith("00:00"));
  return `${ends.map((end) => (areDays ? end.slice(0, 10) : end)).join(" to ")} UTC`;
}

/** Return a bucket size as a noun: one day, one hour, 10 minutes. */
export function bucketName(bucket) {
  return /^\d/.test(bucket) ? bucket : `one ${bucket}`;
}

/** Return a bucket size as a rate: per day, per hour, per 10 minutes. */
export function perBucket(bucket) {
  return `per ${bucket}`;
}

/** Return a short label for each bucket: 7 Nov for a day, 22:10 within one day, else 7 Nov 22:10. */
export function bucketLabels(starts, bucket) {
  const isOneDay = new Set(starts.map((start) => start.slice(0, 10))).size === 1;
  return starts.map((start) => {
    const moment = new Date(start);
    const day = `${moment.getUTCDate()} ${MONTHS[moment.getUTCMonth()]}`;
    const time = moment.toISOString().slice(11, 16);
    if (bucket === "day") return day;
    return isOneDay ? time : `${day} ${time}`;
  });
}

/** Return a count with its noun: 1 day, 7 days. */
export function amount(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Return a length of time in seconds, in one unit: 0 s, 1.2 s, 5 minutes. */
export function seconds(length) {
  if (length === null || length === undefined) return NOTHING;
  if (length < 60) return `${number(length, length > 0 && length < 10 ? 1 : 0)} s`;
  return elapsed(length * 1000);
}

/** Return how long before `now` something was, in whole days, hours or minutes: 2 days ago. */
export function ago(then, now) {
  const gone = new Date(now) - new Date(then);
  return gone < 60_000 ? "just now" : `${elapsed(gone)} ago`;
}

/** Return the freshness of an answer: the newest event of the batch layer, the newest of either, and the lag. */
export function freshness(answer) {
  const [batch, seen] = [answer.batch_upto, answer.speed_upto].map((at) => (at ? `${second(at)} UTC` : "no event"));
  return `Batch layer up to ${batch}; newest event seen: ${seen}; ${lag(answer.lag_s)}.`;
}

/** Return how far the speed layer is behind the topic. */
export function lag(length) {
  if (length === null || length === undefined) return "how far the speed layer is behind is not known";
  return length === 0 ? "the speed layer has every message" : `the speed layer is ${seconds(length)} behind`;
}

function elapsed(milliseconds) {
  const [noun, unit] = UNITS.find(([, length]) => milliseconds >= length) ?? UNITS.at(-1);
  return amount(Math.floor(milliseconds / unit), noun);
}

function escaped(character) {
  const code = character.codePointAt(0);
  const short = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
  if (short) return short;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
