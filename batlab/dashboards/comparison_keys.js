// Runs in the browser whenever the figure has been painted; `root` and `nudge` are Bokeh models. Comma and full stop move
// the chosen technique by one step of its lag, with Shift by ten; a digit chooses a technique, from the top.
const view = Bokeh.index.roots.find((candidate) => candidate.model === root);
const steps = {Comma: -1, Period: 1};
let count = 0;

function press(box, event) {
  const path = event.composedPath();
  if (!path.includes(box) || event.altKey || event.ctrlKey || event.metaKey) return;
  if (path[0].matches("input, textarea, select, [role=tab], [role=slider]") || path[0].isContentEditable) return;
  const by = (steps[event.code] || 0) * (event.shiftKey ? 10 : 1);
  const choose = !event.shiftKey && /^[1-6]$/.test(event.key) ? Number(event.key) : 0;
  if (!by && !choose) return;
  event.preventDefault();
  event.stopPropagation();
  count += 1;
  nudge.data = {by: [by], choose: [choose], count: [count]};
}

function attach(tries) {
  const box = view && view.el.closest(".batlab-explorer");
  if (!box) {
    if (tries > 0) setTimeout(() => attach(tries - 1), 100);
    return;
  }
  if (box.batlabLags) box.batlabLags.abort();
  box.batlabLags = new AbortController();
  window.addEventListener("keydown", (event) => press(box, event), {capture: true, signal: box.batlabLags.signal});
}
attach(100);
