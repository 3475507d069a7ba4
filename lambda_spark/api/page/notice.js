/** What every view shows: the state of the stream, and since when it or the server has stopped. */

import { h, refill, sentence } from "./dom.js";
import { feed } from "./feed.js";
import { number, second } from "./words.js";

/** Update the line beside the views' names and the notice below it with the server's events. */
export function watchStream() {
  const pulse = document.getElementById("pulse");
  let goneSince = null;
  feed.addEventListener("status", ({ detail }) => {
    goneSince = null;
    notify(stopped(detail.speed));
    refill(pulse, h("span", { class: moves(detail) ? "dot on" : "dot" }), summary(detail));
  });
  feed.addEventListener("gone", ({ detail }) => {
    goneSince ??= new Date();
    notify(detail && detail.kind !== "server-gone" ? paused(detail) : lost(goneSince));
    refill(pulse, h("span", { class: "dot off" }), "no live figures");
  });
}

function stopped(speed) {
  if (!speed.stopped_since) return null;
  return `The speed stream stands still since ${second(speed.stopped_since)} UTC: messages wait, and none was taken in. Start it again with \`spark-submit jobs/speed_stream.py\`.`;
}

function lost(since) {
  return `The server does not answer since ${second(since)} UTC. What is shown is from before; the page goes on once \`make serve\` runs again.`;
}

function paused(problem) {
  return `Live figures are paused. ${problem.detail} ${problem.remedy ?? ""}`;
}

function notify(text) {
  const notice = document.getElementById("notice");
  if (notice.dataset.text === (text ?? "")) return; // a screen reader would repeat it
  notice.dataset.text = text ?? "";
  refill(notice, text ? h("p", {}, sentence(text)) : null);
}

function moves(status) {
  return Object.values(status.events_per_second).some((rate) => rate > 0);
}

function summary(status) {
  const rate = status.events_per_second.topic ?? status.events_per_second.speed;
  if (moves(status)) return `${number(rate)} events per second`;
  return status.speed.upto ? `newest event ${second(status.speed.upto)} UTC` : "no events yet";
}
