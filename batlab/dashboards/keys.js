// Runs in the browser whenever the figure has been painted; `root`, `request` and `cursor` are Bokeh models.
const view = Bokeh.index.roots.find((candidate) => candidate.model === root);
const steps = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10};
let asked = {frame: NaN, at: -Infinity};

function press(box, event) {
  const path = event.composedPath();
  const ends = {Home: -Infinity, End: Infinity};
  if (!path.includes(box) || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (path[0].matches("input, textarea, select, [role=tab], [role=slider]") || path[0].isContentEditable) return;
  if (!(event.key in steps) && !(event.key in ends)) return;
  // Lab would move to another cell: it listens on the document, this on the window, which comes first.
  event.preventDefault();
  event.stopPropagation();
  const frames = request.data.frames[0];
  // Presses faster than the kernel count from the frame last asked for.
  const base = Date.now() - asked.at < 1000 ? asked.frame : cursor.location;
  let place = frames.findIndex((frame) => frame >= base);
  if (place < 0) place = frames.length - 1;
  place += event.key in steps ? steps[event.key] : ends[event.key];
  const frame = frames[Math.min(Math.max(place, 0), frames.length - 1)];
  asked = {frame, at: Date.now()};
  request.data = {...request.data, frame: [frame]};
}

function attach(tries) {
  const box = view && view.el.closest(".batlab-explorer");
  if (!box) {
    if (tries > 0) setTimeout(() => attach(tries - 1), 100);
    return;
  }
  if (box.batlabKeys) box.batlabKeys.abort();
  box.batlabKeys = new AbortController();
  const signal = box.batlabKeys.signal;
  box.tabIndex = 0;
  box.style.outline = "none";
  window.addEventListener("keydown", (event) => press(box, event), {capture: true, signal});
  view.el.addEventListener("click", () => box.focus({preventScroll: true}), {signal});
}
attach(100);
