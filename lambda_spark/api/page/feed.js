/** The server's live events, read once for the whole page: `status`, `sample`, and `gone` if the server is unavailable. */

import { listen } from "./api.js";

export const feed = new EventTarget();

/** The newest status, null before the first. */
export let status = null;

/** Read events as long as the page is open and the server allows it. */
export async function follow() {
  for (;;) {
    let problem = null;
    await listen("/v1/live", take).catch((error) => (problem = error));
    emit("gone", problem);
    if (problem?.kind === "unauthorized") return;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (problem?.againAfter ?? 3)));
  }
}

/** Call `act` when either layer has processed more, at most once per `pause` milliseconds, until the signal ends it. */
export function onNews(act, pause, signal) {
  let last = status && progress(status);
  let lastAt = performance.now();
  feed.addEventListener(
    "status",
    ({ detail }) => {
      if (progress(detail) === last || performance.now() - lastAt < pause) return;
      last = progress(detail);
      lastAt = performance.now();
      act();
    },
    { signal },
  );
}

/** Return how far both layers are, as one text to compare. */
function progress({ batch, speed }) {
  return [batch.received, batch.upto, batch.committed_at, speed.received, speed.upto].join();
}

function take(name, data) {
  if (name === "status") status = data;
  emit(name, data);
}

function emit(name, detail) {
  feed.dispatchEvent(new CustomEvent(name, { detail }));
}
