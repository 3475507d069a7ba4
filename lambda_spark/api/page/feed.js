/** The server's live events, read once for the whole page: `status`, `sample`, and `gone` while the server is away. */

import { listen } from "./api.js";

export const feed = new EventTarget();

/** The newest status, null before the first. */
export let status = null;

/** Read events for as long as the page is open, and the server lets it. */
export async function follow() {
  for (;;) {
    let problem = null;
    await listen("/v1/live", take).catch((error) => (problem = error));
    tell("gone", problem);
    if (problem?.kind === "unauthorized") return;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (problem?.againAfter ?? 3)));
  }
}

/** Call `act` when either layer has taken in more, at most once in `pause` milliseconds, until the signal ends it. */
export function onNews(act, pause, signal) {
  let known = status && taken(status);
  let last = performance.now();
  feed.addEventListener(
    "status",
    ({ detail }) => {
      if (taken(detail) === known || performance.now() - last < pause) return;
      known = taken(detail);
      last = performance.now();
      act();
    },
    { signal },
  );
}

/** What both layers have taken in, as one text to compare. */
function taken({ batch, speed }) {
  return [batch.received, batch.upto, batch.committed_at, speed.received, speed.upto].join();
}

function take(name, data) {
  if (name === "status") status = data;
  tell(name, data);
}

function tell(name, detail) {
  feed.dispatchEvent(new CustomEvent(name, { detail }));
}
