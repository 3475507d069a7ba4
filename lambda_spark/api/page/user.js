/** The view of one user: recent brands, recommendations, and which brand led to which of them. */

import { ask } from "./api.js";
import { h, refill } from "./dom.js";
import { besides, keepFresh } from "./fresh.js";
import { link } from "./router.js";
import { nothing } from "./states.js";
import { table } from "./table.js";
import { userPicker } from "./user_picker.js";
import { brandTable, recommendationTable } from "./user_tables.js";
import { ago, minute } from "./words.js";

/** Show the user in the address, or users to choose from. */
export function user(place, { id, query }, signal) {
  document.title = `${id ? `User ${id}` : "Users"} · lambda-spark`;
  const result = h("div", { id: "user-result" });
  refill(place, h("h1", { tabindex: "-1" }, id ? `User ${id}` : "Users"), userPicker(id, query), result);
  if (id)
    keepFresh(
      result,
      signal,
      (until) => askUser(id, query, until),
      (answer) => drawn(answer),
    );
  else keepFresh(result, signal, (until) => ask("/v1/users", { limit: 20 }, until), pick, 3000);
}

async function askUser(id, query, signal) {
  const path = `/v1/users/${encodeURIComponent(id)}`;
  const [brands, recommendations] = await Promise.all([
    ask(`${path}/brands`, {}, signal).catch((problem) => knownAsNobody(problem, query)),
    ask(`${path}/recommendations`, query, signal),
  ]);
  return { ...recommendations, brands: brands.brands };
}

/** With a fallback, users without events get recommendations, too. */
function knownAsNobody(problem, query) {
  if (problem.kind === "unknown-user" && query.fallback === "true") return { brands: [] };
  throw problem;
}

function drawn(answer) {
  const { brands, recommendations: rows, speed_upto: now } = answer;
  return [
    h(
      "div",
      { class: "pair" },
      h(
        "section",
        { "aria-labelledby": "recommended-title" },
        h("h2", { id: "recommended-title" }, "Recommendations"),
        rows.length
          ? recommendationTable(answer)
          : nothing(
              "Nothing to recommend",
              "No trending product is of a brand this user met lately. Tick “Fill up with top trends” to get those.",
            ),
      ),
      h(
        "section",
        { "aria-labelledby": "brands-title" },
        h("h2", { id: "brands-title" }, "Recent brands"),
        brands.length ? brandTable(brands, rows, now) : nothing("No brand yet", "No event of this user names a brand."),
      ),
    ),
    ...besides(answer),
  ];
}

function pick(answer) {
  if (answer.users.length === 0)
    return [
      nothing(
        "No user yet",
        "No user has met a brand: replay events into the topic, then run `batch_brands.py` or `speed_stream.py`.",
      ),
    ];
  const columns = [
    {
      name: "User",
      kind: "number",
      isHead: true,
      cell: (row) => h("a", { id: `user-${row.user_id}`, href: link("users", row.user_id) }, row.user_id),
    },
    { name: "Recent brands", kind: "number", cell: (row) => `${row.brand_count} of 50` },
    { name: "Last seen (UTC)", kind: "seen", cell: (row) => minute(row.last_seen_at) },
    { name: "Age", kind: "age", cell: (row) => ago(row.last_seen_at, answer.speed_upto) },
  ];
  return [
    h(
      "section",
      { "aria-labelledby": "pick-title" },
      h("h2", { id: "pick-title" }, "Recently active"),
      table("Whoever the stream has told of last comes first.", columns, answer.users, {
        id: "users-table",
        kind: "stack",
      }),
    ),
    ...besides(answer),
  ];
}
