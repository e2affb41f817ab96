// Charts under a pointer or the keys: what a curve says there, and a closer look. The server draws; its charts stand
// without this. What is chosen is kept in the page's address.

import { fetchPage, replaceParts } from "./parts.js";

const SETTINGS = ["x", "smooth", "scale", "zoom"];
const WAIT_MS = 150;
const CLOSER = 0.5;
const FEWEST_UNITS = 6; // of a drag that is no click

const figureOf = (event) => event.target.closest?.("figure.chart") ?? null;
const pictureOf = (figure) => figure.querySelector("svg");

/** The chosen settings, copied into the query of another address. */
export function withSettings(address) {
  const found = new URL(address, location.href);
  const said = new URLSearchParams(location.search);
  for (const key of [...SETTINGS, "charts", "metric", "after"]) {
    found.searchParams.delete(key);
    for (const value of said.getAll(key)) found.searchParams.append(key, value);
  }
  return found.href;
}

function choose(change) {
  const said = new URLSearchParams(location.search);
  change(said);
  const query = said.toString();
  history.replaceState(null, "", location.pathname + (query ? `?${query}` : "") + location.hash);
}

// Drawing anew

let asked = 0;

async function redraw(names) {
  const mine = (asked += 1);
  const runs = document.querySelector("[data-run-ids]")?.dataset.runIds.split(" ") ?? [];
  const query = new URLSearchParams();
  for (const run of runs) query.append("run", run);
  for (const name of names) query.append("name", name);
  const page = names.length ? await fetchPage(withSettings(`/charts?${query}`)) : null;
  if (!page || mine !== asked) return;
  for (const fresh of page.querySelectorAll("figure.chart")) {
    const present = figureNamed(fresh.dataset.name);
    if (!present) continue;
    const focused = present.contains(document.activeElement);
    const figure = document.adoptNode(fresh);
    present.replaceWith(figure);
    if (focused) pictureOf(figure).focus();
  }
}

const figures = () => [...document.querySelectorAll("figure.chart[data-name]")]; // the others stand as they are
const figureNamed = (name) => figures().find((figure) => figure.dataset.name === name);

function zoom(figure, low, high) {
  const name = figure.dataset.name;
  if (name === undefined) return;
  choose((said) => {
    const others = said.getAll("zoom").filter((each) => each.split(",").slice(2).join(",") !== name);
    said.delete("zoom");
    for (const each of others) said.append("zoom", each);
    if (low < high) said.append("zoom", `${low},${high},${name}`);
  });
  redraw([name]);
}

// The form of settings

let waiting = null;

function takeForm(form, event) {
  const data = new FormData(form);
  const usual = { x: "step", smooth: "0" };
  choose((said) => {
    for (const key of ["x", "smooth", "scale", "metric"]) {
      if (!form.elements[key]) continue;
      said.delete(key);
      for (const value of data.getAll(key)) if (value && value !== usual[key]) said.append(key, value);
    }
    if (event.target.name === "x" || event.target.name === "metric") said.delete("after");
    if (event.target.name === "x") said.delete("zoom"); // a range of steps is none of times
  });
  form.querySelector("output").textContent = Number(form.elements.smooth.value).toFixed(2);
  clearTimeout(waiting);
  waiting = setTimeout(
    event.target.name === "metric" ? lookAgain : () => redraw(figures().map((figure) => figure.dataset.name)),
    WAIT_MS,
  );
}

async function lookAgain() {
  const page = await fetchPage(location.href);
  if (page) replaceParts(page);
}

for (const form of document.querySelectorAll("[data-chart-controls]")) {
  form.querySelector("button").hidden = true;
  form.addEventListener("input", (event) => takeForm(form, event));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    takeForm(form, event);
  });
}

// Where in a picture

const units = (figure, event) => {
  const box = pictureOf(figure).getBoundingClientRect();
  return ((event.clientX - box.left) / box.width) * pictureOf(figure).viewBox.baseVal.width;
};

function xAt(figure, unit) {
  const { low, high, left, logX } = figure.dataset;
  const right = pictureOf(figure).viewBox.baseVal.width - 12;
  const share = Math.min(1, Math.max(0, (unit - left) / (right - left)));
  if (logX) return Number(low) * (high / low) ** share;
  return Number(low) * (1 - share) + Number(high) * share;
}

function pointsOf(line) {
  if (line.points) return line.points;
  const marks = [...line.querySelectorAll(".raw polyline, .raw .lone")];
  const pairs = marks.flatMap((mark) => (mark.getAttribute("points") || mark.dataset.point).split(" "));
  const labels = line.dataset.labels ? line.dataset.labels.split(" ; ") : [];
  line.points = pairs.map((pair, place) => {
    const [x, y] = pair.split(",").map(Number);
    const [at, value] = (labels[place] || "|").split("|");
    return { x, y, at, value };
  });
  return line.points;
}

const nearest = (points, x) =>
  points.reduce((best, point) => (best === null || Math.abs(point.x - x) < Math.abs(best.x - x) ? point : best), null);

// Telling

let shown = null;

function hide() {
  if (!shown) return;
  const figure = shown;
  shown = null;
  for (const dot of figure.querySelectorAll(".dot")) dot.remove();
  figure.querySelector(".cross").toggleAttribute("hidden", true);
  figure.querySelector(".hover").hidden = true;
  const output = figure.querySelector("output");
  if (output.dataset.all !== undefined) output.textContent = output.dataset.all;
}

function tell(figure, unit) {
  if (shown !== figure) hide();
  shown = figure;
  const found = [...figure.querySelectorAll(".line")]
    .map((line) => ({ line, point: nearest(pointsOf(line), unit) }))
    .filter((each) => each.point?.value);
  if (!found.length) return;
  const lead = found.reduce((best, each) => (Math.abs(each.point.x - unit) < Math.abs(best.point.x - unit) ? each : best));
  const cross = figure.querySelector(".cross");
  cross.toggleAttribute("hidden", false);
  cross.setAttribute("x1", lead.point.x);
  cross.setAttribute("x2", lead.point.x);
  figure.at = lead.point.x;
  for (const dot of figure.querySelectorAll(".dot")) dot.remove();
  for (const { line, point } of found) {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("class", "dot");
    dot.setAttribute("cx", point.x);
    dot.setAttribute("cy", point.y);
    dot.setAttribute("r", 3);
    line.append(dot);
  }
  const output = figure.querySelector("output");
  output.dataset.all ??= output.textContent;
  const where = { step: "step ", place: "" }[figure.dataset.axis] ?? "";
  if (found.length === 1) output.textContent = `${where}${lead.point.at}: ${lead.point.value}`;
  else {
    output.textContent = `${where}${lead.point.at}`;
    list(figure, found);
  }
}

/** What each run has there, the greatest first. */
function list(figure, found) {
  const box = figure.querySelector(".hover");
  const rows = [...found].sort((one, other) => one.point.y - other.point.y).map(({ line, point }) => {
    const row = document.createElement("div");
    row.className = `key ${line.classList[1]}`;
    const value = document.createElement("b");
    value.textContent = point.value;
    row.append(`${line.dataset.run} `, value);
    return row;
  });
  box.replaceChildren(...rows);
  const picture = pictureOf(figure);
  box.classList.toggle("at-left", figure.at > picture.viewBox.baseVal.width / 2);
  box.hidden = false;
}

/** Names the run whose curve is under the pointer, in all pictures at once. */
function light(run) {
  for (const figure of document.querySelectorAll(".overlay")) {
    figure.classList.toggle("lit", run !== null);
    for (const line of figure.querySelectorAll(".line")) line.classList.toggle("on", line.dataset.run === run);
    if (figure.querySelector(".line")?.dataset.labels) continue; // the list under the pointer names it
    const output = figure.querySelector("output");
    output.dataset.all ??= output.textContent;
    const on = figure.querySelector(".line.on");
    output.textContent = on ? [run, on.dataset.last].filter(Boolean).join(": ") : output.dataset.all;
  }
}

// Pointer and keys

let drag = null;

document.addEventListener("pointermove", (event) => {
  const figure = drag?.figure ?? (event.target.closest?.("figure.chart svg") ? figureOf(event) : null);
  if (!figure) {
    hide();
    return light(null);
  }
  const unit = units(figure, event);
  if (drag) {
    const rect = figure.querySelector(".chosen");
    rect.toggleAttribute("hidden", false);
    rect.setAttribute("x", Math.min(drag.from, unit));
    rect.setAttribute("width", Math.abs(unit - drag.from));
    return;
  }
  light(event.target.closest?.(".overlay .line")?.dataset.run ?? null);
  tell(figure, unit);
});

document.addEventListener("pointerdown", (event) => {
  const figure = figureOf(event);
  if (event.button !== 0 || event.pointerType === "touch" || !figure || !event.target.closest("svg")) return;
  drag = { figure, from: units(figure, event) };
  event.preventDefault();
  pictureOf(figure).focus({ preventScroll: true });
});

document.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const { figure, from } = drag;
  drag = null;
  figure.querySelector(".chosen").toggleAttribute("hidden", true);
  const unit = units(figure, event);
  if (Math.abs(unit - from) < FEWEST_UNITS) return;
  const [low, high] = [xAt(figure, from), xAt(figure, unit)].sort((one, other) => one - other);
  zoom(figure, low, high);
});

document.addEventListener("dblclick", (event) => {
  const figure = figureOf(event);
  if (figure && event.target.closest("svg")) zoom(figure, 0, 0);
});

document.addEventListener("click", (event) => {
  const figure = event.target.closest?.(".chart .whole") ? figureOf(event) : null;
  if (figure) zoom(figure, 0, 0);
});

document.addEventListener("keydown", (event) => {
  const figure = event.target.closest?.("figure.chart svg") ? figureOf(event) : null;
  if (!figure || event.ctrlKey || event.metaKey || event.altKey) return;
  const [low, high] = [Number(figure.dataset.low), Number(figure.dataset.high)];
  const points = pointsOf(figure.querySelector(".line"));
  const middle = figure.at === undefined ? (low + high) / 2 : xAt(figure, figure.at);
  const around = (share) => zoom(figure, middle - (middle - low) * share, middle + (high - middle) * share);
  const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
  if (step && points.length) {
    const place = figure.at === undefined ? -1 : points.indexOf(nearest(points, figure.at));
    tell(figure, points[Math.min(points.length - 1, Math.max(0, place + step))].x);
  } else if (event.key === "+" || event.key === "=") around(CLOSER);
  else if (event.key === "-") around(1 / CLOSER);
  else if (event.key === "Escape" || event.key === "0") zoom(figure, 0, 0);
  else return;
  event.preventDefault();
});

document.addEventListener("focusout", (event) => event.target.closest?.("figure.chart svg") && hide());
