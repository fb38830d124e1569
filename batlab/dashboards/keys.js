// Runs in the browser whenever the figure has been painted; `root`, `request`, `cursor` and those of `ahead` are Bokeh
// models. The tags of `request` hold the frames that there are and their places, its data the frame asked for.
const view = Bokeh.index.roots.find((candidate) => candidate.model === root);
const steps = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10};
// Frames asked for and not yet shown, newest last: presses faster than the kernel count from the newest.
let asked = {frames: [], at: -Infinity};

// Cursors that only need to be moved do not wait for Python; what else hangs on the frame follows. Hidden ones stay: a
// figure without a size, once asked to paint, has all of them laid out anew.
function goAhead(frame) {
  const [frames, places] = request.tags, place = places && places[frames.indexOf(frame)];
  if (typeof place !== "number") return;
  for (const one of ahead) if (one.visible) one.setv({location: place}, {sync: false});
}

cursor.properties.location.change.connect(() => {
  const known = asked.frames.indexOf(cursor.location);
  // A frame that nobody pressed for: slider or mouse have moved the cursor since.
  asked.frames = known < 0 ? [] : asked.frames.slice(known + 1);
  if (asked.frames.length) goAhead(asked.frames.at(-1));
});

function press(box, event) {
  const path = event.composedPath();
  const ends = {Home: -Infinity, End: Infinity};
  if (!path.includes(box) || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (path[0].matches("input, textarea, select, [role=tab], [role=slider]") || path[0].isContentEditable) return;
  if (!(event.key in steps) && !(event.key in ends)) return;
  // Lab would move to another cell: it listens on the document, this on the window, which comes first.
  event.preventDefault();
  event.stopPropagation();
  const frames = request.tags[0];
  if (Date.now() - asked.at > 5000) asked.frames = [];
  const base = asked.frames.length ? asked.frames.at(-1) : cursor.location;
  let place = frames.findIndex((frame) => frame >= base);
  if (place < 0) place = frames.length - 1;
  place += event.key in steps ? steps[event.key] : ends[event.key];
  const frame = frames[Math.min(Math.max(place, 0), frames.length - 1)];
  if (frame !== base) asked.frames.push(frame);
  asked.at = Date.now();
  goAhead(frame);
  request.data = {frame: [frame]};
}

attach(view, ".batlab-explorer", "batlabKeys", (box, signal) => {
  makeFocusable(box);
  window.addEventListener("keydown", (event) => press(box, event), {capture: true, signal});
  view.el.addEventListener("click", () => box.focus({preventScroll: true}), {signal});
});
