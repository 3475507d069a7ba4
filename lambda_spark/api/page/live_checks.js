/** The rejected messages by reason, and the result of the identity check. */

import { h } from "./dom.js";
import { scrollable, table } from "./table.js";
import { amount, clean, number, second } from "./words.js";

/** Show why messages were rejected, the most frequent reason first. */
export function rejectsPart({ rejects, batch }) {
  if (rejects.length === 0) return h("p", {}, "No message was rejected.");
  const columns = [
    { name: "Reason", isHead: true, kind: "text", cell: (row) => clean(row.sentence ?? row.reason) },
    { name: "Messages", kind: "number", cell: (row) => number(row.count) },
  ];
  const rows = [...rejects].sort((one, other) => other.count - one.count);
  return scrollable(
    "Rejected messages",
    table(`${number(batch.rejected)} of ${amount(batch.received, "message")}`, columns, rows, { id: "rejects-table" }),
  );
}

/** Show whether the views of both layers equal a recomputation from the events, and when that was checked. */
export function identityPart(identity) {
  const meaning = h(
    "p",
    { class: "hint" },
    "Both layers' views, merged, must equal what is computed from all stored events.",
  );
  if (identity === null)
    return [meaning, h("p", { id: "identity-result" }, "Not checked yet: run ", h("code", {}, "make identity"), ".")];
  const columns = [
    { name: "What was compared", isHead: true, kind: "text", cell: (part) => clean(part.what) },
    { name: "Rows", kind: "number", cell: (part) => number(part.rows) },
    {
      name: "Differences",
      kind: "number",
      cell: (part) => h("span", { class: part.differences ? "bad" : null }, number(part.differences)),
    },
  ];
  const result = identity.agrees
    ? h("span", { class: "key" }, "✓ It holds")
    : h("span", { class: "bad" }, "✗ It does not hold");
  return [
    meaning,
    h("p", { id: "identity-result" }, result, `, checked ${second(identity.checked_at)} UTC.`),
    scrollable("What was compared", table("Compared row by row", columns, identity.parts, { id: "identity-table" })),
  ];
}
