// Keeps a run's page up to date while the run lives: its log as it is written, the other parts by and by.

import "./charts.js";
import { fetchPage, remember, replaceParts } from "./parts.js";
import { Terminal } from "./terminal.js";

const TURN_MS = 4000; // metrics come without an event
const AGAIN_MS = 2000;

const page = document.getElementById("run");
let source = null;
let terminal = null;
let end = 0;
let waiting = null;

remember();
takeLog();
if (page.dataset.live) {
  follow();
  waiting = setTimeout(turn, TURN_MS);
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : resume()));
}

function takeLog() {
  const element = document.getElementById("log-text");
  terminal = element && new Terminal(element);
  end = element ? Number(element.dataset.end) : 0;
}

function follow() {
  const name = terminal ? terminal.element.dataset.name : "";
  const query = new URLSearchParams(name ? { prefix: name, offsets: JSON.stringify({ [name]: end }) } : { logs: "false" });
  source = new EventSource(`/api/v1/runs/${encodeURIComponent(page.dataset.run)}/follow?${query}`);
  source.addEventListener("open", () => tell(true));
  source.addEventListener("log", (event) => {
    const said = JSON.parse(event.data);
    if (said.name !== name) return;
    end = said.end;
    terminal.write(said.text);
  });
  source.addEventListener("status", () => update());
  source.addEventListener("end", () => {
    page.dataset.live_ended = "yes";
    pause();
    update();
  });
  source.addEventListener("error", () => {
    // The browser would go on from the old offset and show the log twice.
    source?.close();
    source = null;
    tell(false);
    if (!document.hidden && !page.dataset.live_ended) setTimeout(() => source || document.hidden || follow(), AGAIN_MS);
  });
}

function tell(following) {
  const mark = document.querySelector(".following");
  if (mark) mark.hidden = !(following && terminal);
}

// A browser opens only some six connections to a server: a page that nobody looks at holds none.
function pause() {
  source?.close();
  source = null;
  clearTimeout(waiting);
  tell(false);
}

function resume() {
  if (page.dataset.live_ended || source) return;
  follow();
  turn();
}

async function turn() {
  await update();
  clearTimeout(waiting);
  if (!page.dataset.live_ended && !document.hidden) waiting = setTimeout(turn, TURN_MS);
}

let updating = false;
let again = false;

async function update() {
  again = updating;
  if (updating) return;
  updating = true;
  const fresh = await fetchPage(page.dataset.live);
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
  if (!wanted || wanted === terminal?.element.dataset.name) return;
  const whole = await fetchPage(location.href);
  const fresh = whole?.getElementById("log");
  if (!fresh) return;
  document.getElementById("log").replaceWith(document.adoptNode(fresh));
  takeLog();
  source?.close();
  source = null;
  if (!page.dataset.live_ended && !document.hidden) follow();
}
