// Runs in the browser whenever the matrix has been painted; `root` and `request` are Bokeh models. The data of `request`
// hold the id of the row that was asked for by click or key; Python chooses it and marks it in the table.
const view = Bokeh.index.roots.find((candidate) => candidate.model === root);
const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity};
// The row asked for and not yet shown: presses faster than the kernel count from it.
let asked = {row: null, at: -Infinity};

const rows = (box) => [...box.querySelectorAll(".batlab-board-table tr[data-row]")];
const shown = (box) => (box.querySelector("style[data-selected]") || {dataset: {}}).dataset.selected;

function ask(box, row) {
  asked = {row, at: Date.now()};
  const line = rows(box).find((one) => one.dataset.row === row), pane = box.querySelector(".batlab-board-pane");
  if (line && pane) {  // not scrollIntoView, which would move the notebook too
    const head = pane.querySelector("thead"), top = head ? head.offsetHeight : 0;
    const at = line.getBoundingClientRect(), frame = pane.getBoundingClientRect();
    if (at.top < frame.top + top) pane.scrollTop += at.top - frame.top - top;
    else if (at.bottom > frame.bottom) pane.scrollTop += at.bottom - frame.bottom + 2;
  }
  request.data = {row: [row], time: [Date.now()]};  // the time makes every wish another one
}

function step(box, by) {
  const ids = rows(box).map((one) => one.dataset.row);
  if (!ids.length) return;
  const base = Date.now() - asked.at < 3000 ? asked.row : shown(box);
  const place = ids.indexOf(base);
  const next = place < 0 ? (by === Infinity ? ids.length - 1 : 0) : Math.min(Math.max(place + by, 0), ids.length - 1);
  if (ids[next] !== base) ask(box, ids[next]);
}

function focus(box, place) {
  const found = box.querySelector(place);
  if (found) found.focus();
}

// A field tells Python what was typed when it is left: so leave it before the button hears the click.
function keep(box) {
  const button = box.querySelector(".batlab-board-save");
  if (document.activeElement && box.contains(document.activeElement)) document.activeElement.blur();
  if (button && !button.disabled) setTimeout(() => button.click(), 50);
}

function press(box, event) {
  const path = event.composedPath();
  if (!path.includes(box) || event.altKey) return;
  const isSave = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s";
  const isField = path[0].matches("input, textarea, select") || path[0].isContentEditable;
  let act = null;
  if (isSave) act = () => keep(box);
  else if (event.ctrlKey || event.metaKey) return;
  else if (event.key === "Escape") act = () => box.focus({preventScroll: true});
  else if (isField || path[0].matches("button, [role=tab]")) return;
  else if (event.key in steps && !event.shiftKey) act = () => step(box, steps[event.key]);
  else if (event.key === "Enter" && !event.shiftKey) act = () => focus(box, ".batlab-board-first select");
  else if (event.key === "/") act = () => focus(box, ".batlab-board-filter input");
  else if (event.key === "n") act = () => focus(box, ".batlab-board-new") || box.querySelector(".batlab-board-new").click();
  if (!act) return;
  // Lab would move to another cell or save the notebook: it listens on the document, this on the window, which is first.
  event.preventDefault();
  event.stopPropagation();
  act();
}

function click(box, event) {
  const line = event.target.closest && event.target.closest(".batlab-board-table tr[data-row]");
  if (!line) return;
  box.focus({preventScroll: true});
  ask(box, line.dataset.row);
}

attach(view, ".batlab-board", "batlabKeys", (box, signal) => {
  makeFocusable(box);
  window.addEventListener("keydown", (event) => press(box, event), {capture: true, signal});
  box.addEventListener("click", (event) => click(box, event), {signal});
  view.el.addEventListener("click", () => box.focus({preventScroll: true}), {signal});
});
