/** The live view: rates and counts of both layers, the newest messages, rejects, and the identity check. */

import { ask } from "./api.js";
import { h, refill } from "./dom.js";
import { feed, status } from "./feed.js";
import { keepFresh } from "./fresh.js";
import { identityPart, rejectsPart } from "./live_checks.js";
import { messageList } from "./live_messages.js";
import { layerTable } from "./layer_table.js";
import { nothing } from "./states.js";
import { rateCharts } from "./rates.js";
import { amount, number } from "./words.js";

const ANNOUNCE_EVERY = 15_000;

/** Show the live view. */
export function live(place, _route, signal) {
  document.title = "Live · lambda-spark";
  const rates = rateCharts();
  const messages = messageList();
  const parts = {
    layers: h("div", { id: "layers" }),
    rejects: h("div", { id: "rejects" }),
    identity: h("div", { id: "identity" }),
  };
  const announcement = h("p", { class: "unseen", role: "status" });
  refill(
    place,
    h("h1", { tabindex: "-1" }, "Live"),
    announcement,
    h("div", { id: "live-state" }),
    h(
      "div",
      { class: "pair uneven" },
      section(
        "rates-title",
        "Events per second",
        h("p", { class: "hint" }, "The last two minutes, all on one scale; the newest second is in colour."),
        rates.element,
      ),
      section("layers-title", "Both layers, side by side", parts.layers),
    ),
    section("messages-title", "Newest messages", messages.controls, messages.element),
    h(
      "div",
      { class: "pair" },
      section("rejects-title", "Rejected", parts.rejects),
      section("identity-title", "The Lambda identity", parts.identity),
    ),
  );
  const state = document.getElementById("live-state");
  let announcedAt = 0;
  const show = (now) => {
    rates.draw();
    refill(
      state,
      now.speed.received || now.batch.received
        ? null
        : nothing(
            "Nothing ingested yet",
            "Run `make live` to start everything and watch, or replay events with `python jobs/replay_events.py FILES`.",
          ),
    );
    refill(parts.layers, layerTable(now));
    refill(parts.rejects, rejectsPart(now));
    refill(parts.identity, identityPart(now.identity));
    if (performance.now() - announcedAt < ANNOUNCE_EVERY) return;
    announcedAt = performance.now();
    announcement.textContent = spoken(now);
  };
  if (status) show(status);
  else
    keepFresh(
      state,
      signal,
      (until) => ask("/v1/status", {}, until),
      (now) => (show(now), []),
      Infinity,
    );
  feed.addEventListener("status", ({ detail }) => show(detail), { signal });
  feed.addEventListener("sample", ({ detail }) => messages.take(detail.messages), { signal });
}

function section(id, title, ...content) {
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...content);
}

function spoken({ events_per_second: rates, speed }) {
  const behind = speed.behind === null ? "" : `; the speed layer is ${amount(speed.behind, "message")} behind`;
  return `${number(rates.topic ?? rates.speed)} events per second${behind}.`;
}
