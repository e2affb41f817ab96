// Tells a chart's value under the pointer. The chart itself stands without this.

function pointsOf(svg) {
  const text = [...svg.querySelectorAll("polyline, .lone")].map((mark) => mark.getAttribute("points") || mark.dataset.point);
  const places = text.join(" ").split(" ").map((pair) => pair.split(",").map(Number));
  const labels = svg.dataset.labels.split(" ; ");
  return places.map(([x, y], place) => ({ x, y, label: labels[place] || "" }));
}

function show(svg, event) {
  svg.points ??= pointsOf(svg);
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
  const nearest = svg.points.reduce((best, point) => (Math.abs(point.x - x) < Math.abs(best.x - x) ? point : best));
  const [place, value] = nearest.label.split("|");
  const output = svg.closest("figure").querySelector("output");
  output.dataset.last ??= output.textContent;
  output.textContent = `${svg.dataset.axis} ${place}: ${value}`;
  mark(svg, nearest);
}

function mark(svg, point) {
  const [cross, dot] = [svg.querySelector(".cross"), svg.querySelector(".dot")];
  for (const element of [cross, dot]) element.toggleAttribute("hidden", !point);
  if (!point) return;
  cross.setAttribute("x1", point.x);
  cross.setAttribute("x2", point.x);
  dot.setAttribute("cx", point.x);
  dot.setAttribute("cy", point.y);
}

document.addEventListener("pointermove", (event) => {
  const svg = event.target.closest?.(".chart svg");
  for (const other of document.querySelectorAll(".chart svg[data-shown]")) {
    if (other === svg) continue;
    other.removeAttribute("data-shown");
    mark(other, null);
    const output = other.closest("figure").querySelector("output");
    output.textContent = output.dataset.last;
  }
  if (!svg) return;
  svg.setAttribute("data-shown", "");
  show(svg, event);
});
