/** The small box with the value at the pointer or the focus. Labels contain the same text. */

const tip = () => document.getElementById("tip");

/** Show text above a point of the window. */
export function showTip(text, x, y) {
  const box = tip();
  box.textContent = text;
  box.hidden = false;
  const half = box.offsetWidth / 2;
  const middle = Math.min(Math.max(x, half + 8), document.documentElement.clientWidth - half - 8);
  box.style.left = `${middle - half}px`;
  box.style.top = `${y - box.offsetHeight - 6 < 0 ? y + 28 : y - box.offsetHeight - 6}px`;
}

/** Hide the box. */
export function hideTip() {
  tip().hidden = true;
}

/** Hide the box on Escape and on scrolling. */
export function closeTipOnEscape() {
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  document.addEventListener("scroll", hideTip, { capture: true, passive: true });
}
