/** The newest messages: as received, as parsed, and the brands of their user afterwards. Older ones are removed. */

import { h, refill } from "./dom.js";
import { link } from "./router.js";
import { clean, number, second } from "./words.js";

const KEPT = 12;
const NEW_AT_ONCE = 3; // nobody could read more

/** Create the list. Its `take(messages)` puts new ones on top; `controls` can pause it. */
export function messageList() {
  const list = h("ol", { id: "messages", class: "messages", "aria-labelledby": "messages-title" });
  const none = h(
    "p",
    { id: "no-messages", class: "hint" },
    "None since this view was opened. They come here as they arrive in the topic.",
  );
  let isPaused = false;
  const pause = h(
    "button",
    {
      id: "pause",
      "aria-pressed": "false",
      click: () => {
        isPaused = !isPaused;
        pause.setAttribute("aria-pressed", String(isPaused));
        pause.textContent = isPaused ? "Go on" : "Hold still";
      },
    },
    "Hold still",
  );
  const take = (messages) => {
    if (isPaused) return;
    const fresh = messages.filter((message) => !shown(message)).slice(0, NEW_AT_ONCE);
    messages.filter((message) => shown(message)).forEach((message) => put(list, message));
    fresh.toReversed().forEach((message) => put(list, message)); // the newest comes first and is put on top last
    while (list.children.length > KEPT) list.lastElementChild.remove();
    none.hidden = list.children.length > 0;
  };
  const controls = h(
    "div",
    { class: "flow-head" },
    h(
      "p",
      { class: "hint" },
      "A sample, at most once a second: as received, as parsed, and the recent brands of its user after it.",
    ),
    pause,
  );
  return { element: h("div", {}, none, list), controls, take };
}

function idOf({ partition, offset }) {
  return `message-${partition}-${offset}`;
}

function shown(message) {
  return document.getElementById(idOf(message));
}

function put(list, message) {
  const known = shown(message);
  const item = known ?? h("li", { id: idOf(message), class: "new" });
  item.classList.toggle("refused", message.reason !== null);
  refill(item, received(message), parsed(message), brands(message));
  if (!known) list.prepend(item);
}

function received({ partition, offset, value }) {
  return step(
    "Received",
    h("span", { class: "hint" }, `partition ${partition}, offset ${number(offset)}`),
    h("code", { class: "raw", title: value }, value),
  );
}

function parsed({ event, reason, sentence }) {
  if (!event) return step("Rejected", h("span", { class: "bad" }, clean(sentence ?? reason)));
  return step(
    "Parsed",
    h(
      "span",
      {},
      h("b", {}, clean(event.event_type)),
      " ",
      h("a", { href: link("products", event.product_id) }, event.product_id),
      " ",
      clean(event.brand),
      event.price === null ? null : `, ${number(event.price, 2)}`,
    ),
    h(
      "span",
      { class: "hint" },
      second(event.event_time),
      " UTC, user ",
      h("a", { href: link("users", event.user_id) }, event.user_id),
    ),
  );
}

function brands({ event, brands: known }) {
  if (!event) return step("Brands", h("span", { class: "hint" }, "none: it is no event"));
  if (known === null) return step("Brands", h("span", { class: "hint" }, "waiting for the speed layer"));
  const names = known.flatMap((brand, place) => [
    place ? ", " : "",
    brand === event.brand?.trim().toLowerCase() ? h("b", { class: "key" }, clean(brand)) : clean(brand),
  ]);
  return step("Brands", h("span", {}, names.length ? names : "none yet"));
}

function step(name, ...content) {
  return h("div", { class: "step" }, h("span", { class: "step-name" }, name), ...content);
}
