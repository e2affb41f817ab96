// The marks in the table of runs: all at once, a range with Shift, how many there are. They stay while one pages and sorts.

const KEY = "runyard-marks";
const NO_OTHER_RUNS = ["after", "sort", "column"]; // what may change of an address whose table has the same runs

const form = document.getElementById("marked");
const boxes = () => [...document.querySelectorAll('input[form="marked"]')];
let marks = new Set();
let last = null; // the value of the box that was changed last: a fresh part has another box of it

function table() {
  const said = new URLSearchParams(location.search);
  for (const key of NO_OTHER_RUNS) said.delete(key);
  return said.toString();
}

function kept() {
  try {
    const known = JSON.parse(sessionStorage.getItem(KEY));
    return known?.table === table() && Array.isArray(known.runs) ? known.runs : [];
  } catch {
    return []; // a browser that keeps nothing: the marks are those of this page alone
  }
}

function keep() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ table: table(), runs: [...marks] }));
  } catch {
    // as above
  }
}

function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // as above
  }
}

function draw() {
  const here = boxes();
  const values = new Set(here.map((box) => box.value));
  for (const box of here) box.checked = marks.has(box.value);
  const away = [...marks].filter((value) => !values.has(value));
  const marked = marks.size - away.length;
  form.hidden = here.length === 0; // a table may get its first run while it is looked at
  const all = form.querySelector(".all input");
  all.checked = marked > 0 && marked === here.length;
  all.indeterminate = marked > 0 && !all.checked;
  const elsewhere = away.length ? `, ${away.length} not on this page` : "";
  form.querySelector("output").textContent = marks.size ? `${marks.size} marked${elsewhere}` : "mark all";
  form.querySelector(".none").hidden = marks.size === 0;
  form.querySelector(".away").replaceChildren(
    ...away.map((value) => Object.assign(document.createElement("input"), { type: "hidden", name: "run", value })),
  );
  form.classList.toggle("some", marks.size > 0);
}

function mark(box, yes) {
  if (yes) marks.add(box.value);
  else marks.delete(box.value);
}

function changed() {
  keep();
  draw();
}

function take() {
  marks = new Set(kept());
  draw();
}

if (form) {
  form.querySelector(".all").hidden = false;
  form.querySelector(".all input").addEventListener("change", (event) => {
    for (const box of boxes()) mark(box, event.target.checked);
    changed();
  });
  form.querySelector(".none").addEventListener("click", () => {
    marks.clear();
    changed();
  });
  document.addEventListener("click", (event) => {
    const box = event.target.closest?.('input[form="marked"]');
    if (!box) return;
    const row = boxes();
    const from = row.findIndex((other) => other.value === last);
    const to = row.indexOf(box);
    const range = event.shiftKey && from >= 0 ? row.slice(Math.min(from, to), Math.max(from, to) + 1) : [box];
    for (const other of range) mark(other, box.checked);
    last = box.value;
    changed();
  });
  // What is archived or restored is in another table then.
  form.addEventListener("submit", (event) => event.submitter?.matches("[data-ends-marks]") && forget());
  new MutationObserver(draw).observe(form.parentNode, { childList: true }); // the table was looked at anew
  take();
  window.addEventListener("pageshow", take); // a browser that comes back, perhaps from another page of the table
}

// The page that asks before runs are cancelled or deleted.
document.querySelector("form.asked")?.addEventListener("submit", (event) => event.submitter?.name === "sure" && forget());
