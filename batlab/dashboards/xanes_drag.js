// Runs in the browser whenever the figure has been painted; `parts` are windows and a line, `hands` the sources that
// tell Python where a hand has put them. The widget also sends back what Python itself has moved, perhaps long after:
// only a gesture counts.
parts.forEach((part, n) => {
  if (part.batlabHand) return;
  part.batlabHand = true;
  part.pan.connect(([phase]) => {
    if (phase === "pan:start") return;
    const ends = part.type === "Span" ? [part.location] : [part.left, part.right];
    hands[n].data = {ends};
  });
});
