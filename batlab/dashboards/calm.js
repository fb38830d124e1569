// Runs in the browser whenever the figure has been painted; `cb_obj` is its document. Two habits cost a page most of its time.
// The widget sends back every change, also those that Python has just made, one message each, and the next key waits
// behind them: only what happened here goes.
for (const tell of [...cb_obj._callbacks.keys()]) {
  if (tell.batlabHears) continue;
  const hear = (event) => { if (event.sync) tell(event); };
  hear.batlabHears = true;
  cb_obj.remove_on_change(tell);
  cb_obj.on_change(hear);
}
// Every paint writes the place of each part into a style sheet, mostly what stands there already, and makes the browser
// work out all styles anew: only what differs is written.
const sheets = Bokeh.require("core/dom").InlineStyleSheet.prototype;
if (!sheets.batlabWrites) {
  sheets.batlabWrites = sheets._update;
  sheets._update = function (css) { if (css !== this.css) this.batlabWrites(css); };
}
