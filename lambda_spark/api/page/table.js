/** Tables, described by their columns: the name of each, and the content of its cells. */

import { h, sentence } from "./dom.js";

/**
 * Create a table. A column is `{name, cell(row), kind}`; its kind is a class: `number`, `text`, ...
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

/** Put content that may be wider than the page into a box that scrolls sideways, also by keyboard. */
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
