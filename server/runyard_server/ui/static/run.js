// Keeps a run's page up to date while the run lives: its log as it is written, the other parts by and by.

import { withSettings } from "./charts.js";
import { LogView } from "./logview.js";
import { fetchPage, remember, replaceParts } from "./parts.js";
import { Stream } from "./stream.js";

const TURN_MS = 10000; // for what comes without an event: the place in a queue
const METRICS_MS = 700; // between two looks at metrics that come,
const SHARE = 10; // and so many times as long as the last look took

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
    metrics: () => (due ??= setTimeout(measure, Math.max(0, METRICS_MS - (Date.now() - looked), SHARE * took))),
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

let due = null;
let looked = 0;
let took = 0;

async function measure() {
  if (document.querySelector("figure.chart:hover, figure.chart :focus-visible")) {
    due = setTimeout(measure, METRICS_MS); // what somebody points at stands still until the next turn
    return;
  }
  due = null; // what comes from here on is looked at again
  looked = Date.now();
  await update("metrics");
  took = Date.now() - looked;
}

let updating = false;
let again = null; // the parts that somebody has asked for meanwhile

async function update(parts = "all") {
  if (updating) {
    again = again === "all" ? again : parts;
    return;
  }
  updating = true;
  const address = new URL(withSettings(page.dataset.live));
  address.searchParams.set("parts", parts);
  const fresh = await fetchPage(address.href);
  if (fresh) {
    replaceParts(fresh);
    await changeLog();
  }
  updating = false;
  const next = again;
  again = null;
  if (next) await update(next);
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
