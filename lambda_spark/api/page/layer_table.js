/** The counts of the topic, the batch layer and the speed layer, side by side. */

import { h } from "./dom.js";
import { scrollable, table } from "./table.js";
import { NOTHING, ago, number, second, seconds } from "./words.js";

/** Create the table of an answer of /v1/status. */
export function layerTable({ now, topic, batch, speed }) {
  const count = topic.message_count;
  const rows = [
    {
      id: "received",
      name: "Messages received",
      topic: number(count),
      batch: number(batch.received),
      speed: number(speed.received),
    },
    { id: "stored", name: "Stored as events", batch: number(batch.stored) },
    { id: "rejected", name: "Rejected", batch: number(batch.rejected) },
    {
      id: "behind",
      name: "Messages behind the topic",
      batch: count === null ? NOTHING : number(Math.max(0, count - batch.received)),
      speed: number(speed.behind),
    },
    { id: "lag", name: "Time behind the topic", speed: seconds(speed.lag_s) },
    { id: "upto", name: "Newest event (UTC)", batch: instant(batch.upto), speed: instant(speed.upto) },
    {
      id: "committed",
      name: "Last commit",
      batch: since(batch.committed_at, now),
      speed: since(speed.committed_at, now),
    },
  ];
  const column = (key) => (row) => h("span", { id: `${key}-${row.id}` }, row[key] ?? NOTHING);
  const columns = [
    { name: "What", isHead: true, kind: "text", cell: (row) => row.name },
    ...Object.entries({ topic: "Topic", batch: "Batch layer", speed: "Speed layer" }).map(([key, name]) => ({
      name,
      kind: "number",
      cell: column(key),
    })),
  ];
  return scrollable("Both layers", table(caption(topic), columns, rows, { id: "layers-table" }));
}

function caption({ name, is_reachable: isReachable }) {
  const topic = name ? `Topic ${name}` : "The topic";
  return isReachable ? topic : `${topic}: the broker cannot be asked; start it with \`make broker\``;
}

/** On a phone, the date and the time are below each other. */
function instant(at) {
  return second(at)
    .split(" ")
    .flatMap((part) => [h("span", { class: "whole" }, part), " "])
    .slice(0, -1);
}

function since(committed, now) {
  return committed ? ago(committed, now) : "never";
}
