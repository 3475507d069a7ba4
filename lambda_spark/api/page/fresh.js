/** Content that stays fresh: requested at once, again when a layer has processed more, and again after a passing problem. */

import { Problem } from "./api.js";
import { h, refill, sentence } from "./dom.js";
import { onNews } from "./feed.js";
import { stateOf, waiting } from "./states.js";
import { freshness } from "./words.js";

/**
 * Show in `place` what `draw(answer)` makes of the answer to `question(signal)`, if it has changed. Content stays during
 * a problem that passes.
 */
export function keepFresh(place, signal, question, draw, pause = 1000) {
  let shown = null;
  let isAsking = false;
  let hasNews = false;
  let hasFigures = false;
  const put = (key, makes) => {
    if (shown !== key) refill(place, makes());
    shown = key;
  };
  const once = async () => {
    hasNews = isAsking;
    if (isAsking || signal.aborted) return;
    isAsking = true;
    try {
      const answer = await question(signal);
      if (!signal.aborted) put(JSON.stringify(answer), () => draw(answer));
      hasFigures = true;
    } catch (error) {
      if (signal.aborted) return;
      const problem = asProblem(error);
      if (!hasFigures || !problem.againAfter) put(JSON.stringify(problem), () => [stateOf(problem)]);
      if (problem.againAfter) setTimeout(once, problem.againAfter * 1000);
    } finally {
      isAsking = false;
      if (hasNews) once();
    }
  };
  refill(place, waiting());
  onNews(once, pause, signal);
  once();
}

/** Return the notes of an answer and its freshness. */
export function besides(answer) {
  return [
    ...answer.notes.map((note) => h("p", { class: "note" }, sentence(note))),
    h("p", { class: "hint reach" }, freshness(answer)),
  ];
}

function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem({
    type: "page-failed",
    title: "The page failed",
    detail: error.message,
    remedy: "Load it again.",
  });
}
