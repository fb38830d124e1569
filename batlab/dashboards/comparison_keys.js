// Runs in the browser whenever the figure has been painted; `root` and `nudge` are Bokeh models. Comma and full stop move
// the chosen technique by one step of its lag, with Shift by ten; a digit chooses a technique, from the top. A press has
// a time by which Python knows it when the widget, busy meanwhile, tells it twice.
const view = Bokeh.index.roots.find((candidate) => candidate.model === root);
const steps = {Comma: -1, Period: 1};

function press(box, event) {
  const path = event.composedPath();
  if (!path.includes(box) || event.altKey || event.ctrlKey || event.metaKey) return;
  if (path[0].matches("input, textarea, select, [role=tab], [role=slider]") || path[0].isContentEditable) return;
  const by = (steps[event.code] || 0) * (event.shiftKey ? 10 : 1);
  const choose = !event.shiftKey && /^[1-6]$/.test(event.key) ? Number(event.key) : 0;
  if (!by && !choose) return;
  event.preventDefault();
  event.stopPropagation();
  nudge.data = {by: [by], choose: [choose], time: [event.timeStamp]};
}

attach(view, ".batlab-explorer", "batlabLags", (box, signal) => {
  window.addEventListener("keydown", (event) => press(box, event), {capture: true, signal});
});
