// Keeps a run's page up to date while the run lives: its log as it is written, the other parts by and by.

import { withSettings } from "./charts.js";
import { LogView } from "./logview.js";
import { fetchPage, remember, replaceParts } from "./parts.js";
import { Stream } from "./stream.js";

const TURN_MS = 4000; // metrics come without an event

const page = document.getElementById("run");
let stream = null;
let view = null;
let waiting = null;

remember();
takeLog();
if (page.dataset.live) {
  stream = new Stream(page.dataset.run, () => view && { name: view.name, end: view.end }, {
    log: (said) => view?.write(said.text, said.end),
    status: () => update(),
    end: () => update(),
    following: tell,
  });
  waiting = setTimeout(turn, TURN_MS);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(waiting) : stream.ended || turn()));
}

function takeLog() {
  const root = document.querySelector(".logview");
  view = root && new LogView(root, () => stream?.restart());
}

function tell(following) {
  const mark = document.querySelector(".following");
  if (mark) mark.hidden = !(following && view);
}

async function turn() {
  await update();
  clearTimeout(waiting);
  if (!stream.ended && !document.hidden) waiting = setTimeout(turn, TURN_MS);
}

let updating = false;
let again = false;

async function update() {
  again = updating;
  if (updating) return;
  updating = true;
  const fresh = await fetchPage(withSettings(page.dataset.live));
  if (fresh) {
    replaceParts(fresh);
    await changeLog();
  }
  updating = false;
  if (again) await update();
}

/** The script's own log takes the place of the preparation's, unless the reader chose one. */
async function changeLog() {
  const wanted = document.querySelector('[data-part="logs"]').dataset.shown;
  if (!wanted || wanted === view?.name) return;
  const whole = await fetchPage(location.href);
  const fresh = whole?.getElementById("log");
  if (!fresh) return;
  document.getElementById("log").replaceWith(document.adoptNode(fresh));
  takeLog();
  stream.restart();
}
