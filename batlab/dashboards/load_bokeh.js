function (element, address, version) {
  // Synchronous: the figure in the next output needs BokehJS as soon as it is rendered.
  if (window.Bokeh && window.Bokeh.version === version) return;
  const request = new XMLHttpRequest();
  try {
    request.open("GET", address + "bokeh.min.js?v=" + version, false);
    request.send();
    if (request.status !== 200) throw new Error("HTTP " + request.status);
    delete window.Bokeh;
    (0, eval)(request.responseText);
  } catch (error) {
    element.textContent = "BokehJS " + version + " could not be loaded from " + address + " (" + error.message +
      "). Restart Jupyter's server in the environment of this kernel, or remove the variable BATLAB_BOKEHJS.";
  }
}
