// Stands before every script that listens to keys. What listens at `place`, the dashboard around the figure of `view`, is
// replaced when the figure is painted anew: `name` tells scripts apart, `signal` ends what `listen` has added.
function attach(view, place, name, listen, tries = 100) {
  const box = view && view.el.closest(place);
  if (!box) {
    if (tries > 0) setTimeout(() => attach(view, place, name, listen, tries - 1), 100);
    return;
  }
  if (box[name]) box[name].abort();
  box[name] = new AbortController();
  listen(box, box[name].signal);
}

// A dashboard that can be clicked into hears keys.
function makeFocusable(box) {
  box.tabIndex = 0;
  box.style.outline = "none";
}

