/** The one small box that tells a figure where the pointer or the focus is. What it says is said in labels, too. */

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

/** Take the box away. */
export function hideTip() {
  tip().hidden = true;
}

/** Let Escape and scrolling take the box away. */
export function closeTipOnEscape() {
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  document.addEventListener("scroll", hideTip, { capture: true, passive: true });
}
