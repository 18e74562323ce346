"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// A number in a cell, or its text: 1,234 · ≈ 1,200 · 12 % · <1 %.
function valueOf(cell) {
  if (cell.dataset.v) return Number(cell.dataset.v);
  const text = cell.textContent.trim();
  const found = /^[≈<]?\s*([\d.,]+)\s*%?$/.exec(text);
  return found ? Number(found[1].replaceAll(",", "")) - (text[0] === "<" ? 0.5 : 0) : text;
}
function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  // Texts such as "unique" come after numbers, and nothing before them.
  return typeof a === "number" ? (b ? -1 : 1) : (a ? 1 : -1);
}
function sort(header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = header.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row.cells[header.cellIndex]), row]);
  rows.sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
  body.append(...rows.map(([, row]) => row));
}
for (const header of all("table.sortable thead th")) {
  if (header.hasAttribute("aria-label") || header.textContent === "Distribution" || header.textContent === "Range") continue;
  const button = document.createElement("button");
  button.textContent = header.textContent;
  button.addEventListener("click", () => sort(header));
  header.replaceChildren(button);
}

// The filter keeps a table whose name matches, or that has a column that does.
const filter = document.querySelector("#filter");
const details = new Map(all("details").map((each) => [each.id, each]));
const tables = all("table.list tbody tr").map((row) => {
  const link = row.querySelector("a");
  const part = link && details.get(link.hash.slice(1));
  const names = part ? all(".columns tbody th", part).map((cell) => cell.textContent) : [];
  return { row, part, text: [row.cells[0].textContent, ...names].join("\n").toLowerCase() };
});
filter.parentNode.hidden = false;
filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  let shown = 0;
  for (const { row, part, text } of tables) {
    const hidden = !text.includes(wanted);
    row.hidden = hidden;
    if (part) part.hidden = hidden;
    shown += hidden ? 0 : 1;
  }
  document.querySelector("output").textContent = wanted ? `${shown} of ${tables.length} tables` : "";
});

// A link to a table unfolds it, and so does printing.
function unfold() {
  const part = details.get(location.hash.slice(1));
  if (part) {
    part.open = true;
    part.scrollIntoView();
  }
}
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => details.forEach((part) => { part.open = true; }));
unfold();
