/** Ranges that move with the newest event: the last 24 hours, 30 days, all. The last 7 complete days are the default. */

import { ask } from "./api.js";
import { status } from "./feed.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LENGTHS = {
  "24h": { unit: HOUR, length: DAY, bucket: "hour" },
  "30d": { unit: DAY, length: 30 * DAY, bucket: "day" },
  all: { unit: DAY, length: 365 * DAY, bucket: "day" },
};

/** The names of the ranges by their value in the address. */
export const RANGES = {
  "": "Last 7 complete days",
  "24h": "Last 24 hours",
  "30d": "Last 30 days",
  all: "All, up to a year",
};

/** Request the trends for the parameters of an address. Throws a Problem. */
export async function askTrends({ range, ...query }, signal) {
  const moving = LENGTHS[range];
  const newest = moving && (await newestEvent(signal));
  if (!newest) return ask("/v1/trends", query, signal);
  const to = Math.ceil((newest + 1) / moving.unit) * moving.unit;
  const parameters = { bucket: moving.bucket, ...query, from: text(to - moving.length), to: text(to) };
  const answer = await ask("/v1/trends", parameters, signal);
  const first = answer.shop.findIndex((count) => count > 0);
  // With buckets before the first event every product would be new.
  const isShorter = first > 0 && answer.shop.length - first >= 2;
  return isShorter ? ask("/v1/trends", { ...parameters, from: answer.bucket_starts[first] }, signal) : answer;
}

async function newestEvent(signal) {
  const { batch, speed } = status ?? (await ask("/v1/status", {}, signal));
  return Math.max(...[batch.upto, speed.upto].map((at) => (at ? new Date(at).getTime() : 0)));
}

function text(at) {
  return new Date(at).toISOString().replace(".000Z", "Z");
}
