/** Tables: columns are told once, each with its name and what a cell of it holds. */

import { h, sentence } from "./dom.js";

/**
 * Make a table. A column is `{name, cell(row), kind}`; its kind is a class: `number`, `text`, ...
 * The cells of a column marked `isHead` name their row.
 */
export function table(caption, columns, rows, { id, kind, rowAttributes = () => ({}) } = {}) {
  return h(
    "table",
    { id, class: kind ?? null },
    h("caption", {}, sentence(caption)),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        columns.map((column) => h("th", { scope: "col", class: column.kind }, column.name)),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((row) =>
        h(
          "tr",
          rowAttributes(row),
          columns.map((column) => cell(column, row)),
        ),
      ),
    ),
  );
}

/** Put what may be wider than the page where it can be scrolled sideways, also by keyboard. */
export function scrollable(name, ...children) {
  return h(
    "div",
    { id: name.toLowerCase().replaceAll(" ", "-"), class: "scroll", role: "region", tabindex: "0", "aria-label": name },
    children,
  );
}

function cell(column, row) {
  const attributes = { class: column.kind, "data-name": column.name };
  const content = [column.cell(row)].flat();
  return column.isHead ? h("th", { scope: "row", ...attributes }, content) : h("td", attributes, content);
}
