"use strict";

const order = new Intl.Collator(undefined, { numeric: true });
const told = document.getElementById("told");

function compared(a, b) {
  if ("key" in a.dataset && "key" in b.dataset) return a.dataset.key - b.dataset.key;
  return order.compare(a.textContent, b.textContent);
}

function sort(header) {
  const direction = header.ariaSort === "ascending" ? "descending" : "ascending";
  const table = header.closest("table");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.ariaSort = direction;
  const sign = direction === "ascending" ? 1 : -1;
  const cell = (row) => row.cells[header.cellIndex];
  const known = (row) => !("none" in cell(row).dataset);
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => known(b) - known(a) || sign * compared(cell(a), cell(b)));
  table.tBodies[0].append(...rows);
  told.textContent = `${table.caption.textContent}: ${direction} by ${header.textContent}`;
}

for (const button of document.querySelectorAll("th button"))
  button.addEventListener("click", () => sort(button.closest("th")));

const scheme = document.getElementById("scheme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.scheme ?? (dark.matches ? "dark" : "light")) === "dark";
const name = () => (scheme.textContent = isDark() ? "Light scheme" : "Dark scheme");

scheme.hidden = false;
scheme.addEventListener("click", () => {
  document.documentElement.dataset.scheme = isDark() ? "light" : "dark";
  name();
});
dark.addEventListener("change", name);
name();
