// Paper gets every table that is short enough, and figures that stand still: pixels of twice the screen's density.
(() => {
  const DENSITY = 2;
  const denser = (draw) => {
    const own = Object.getOwnPropertyDescriptor(window, "devicePixelRatio");
    Object.defineProperty(window, "devicePixelRatio", { value: DENSITY, configurable: true });
    try { return draw(); } finally { if (own) Object.defineProperty(window, "devicePixelRatio", own); else delete window.devicePixelRatio; }
  };
  const still = (figure) => {
    const root = figure.querySelector("[data-root-id]");
    const view = root && window.Bokeh && [...window.Bokeh.index.roots].find((one) => one.model.id === root.dataset.rootId);
    if (!view) return;  // not drawn yet: the figure itself is printed, smaller
    const shot = denser(() => view.export("png", true).canvas);
    shot.className = "still";
    figure.prepend(shot);
    figure.classList.add("is-still");
  };
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    document.querySelectorAll("figure").forEach(still);
  });
  addEventListener("afterprint", () => document.querySelectorAll("figure.is-still").forEach((figure) => {
    figure.querySelector("canvas.still").remove();
    figure.classList.remove("is-still");
  }));
})();
