// Runs in the browser whenever the figure has been painted; `root` and `pressed` are Bokeh models. Letters act on the
// suggestion or mark that the form is about; Enter in the field of reasons refuses.
const view = Bokeh.index.roots.find((candidate) => candidate.model === root);
const letters = new Set(["n", "p", "a", "b", "m", "Escape"]);

// A press has a time by which Python knows it when the widget, busy meanwhile, tells it twice.
function send(event, key, text) {
  pressed.data = {key: [key], text: [text], time: [event.timeStamp]};
}

function press(box, event) {
  const path = event.composedPath();
  if (!path.includes(box) || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const from = path[0], reason = box.querySelector(".batlab-reason input");
  const done = () => { event.preventDefault(); event.stopPropagation(); };
  if (from === reason && (event.key === "Enter" || event.key === "Escape")) {
    done();
    // The text goes along: what the field itself sends may come later.
    if (event.key === "Enter") {
      send(event, "refuse", reason.value);
      reason.value = "";
      reason.dispatchEvent(new Event("input", {bubbles: true}));
    }
    box.focus({preventScroll: true});
    return;
  }
  const inList = from.matches("select") && from.closest(".batlab-list");
  if (!inList && (from.matches("input, textarea, select, [role=tab], [role=slider]") || from.isContentEditable)) return;
  if (event.key === "r" && reason) {
    done();
    reason.focus();
  } else if (letters.has(event.key)) {
    done();
    send(event, event.key, "");
  }
}

attach(view, ".batlab-explorer", "batlabLetters", (box, signal) => {
  window.addEventListener("keydown", (event) => press(box, event), {capture: true, signal});
});
