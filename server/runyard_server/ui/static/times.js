// Times in the reader's own zone and words; without this script they stand in UTC.

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const thisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const RECENT_S = 14 * 86400;

/** Seconds as the server's pages write them. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const brief = (date) => (date.getFullYear() === new Date().getFullYear() ? thisYear : day).format(date);

function since(date) {
  const seconds = (Date.now() - date.getTime()) / 1000;
  if (seconds > RECENT_S) return day.format(date);
  for (const [unit, size] of UNITS) {
    if (seconds >= size) return ago.format(-Math.floor(seconds / size), unit);
  }
  return seconds < 10 ? "just now" : ago.format(-Math.floor(seconds), "second");
}

const STYLES = { full: full.format, short: brief, clock: clock.format, ago: since };

/** Puts every time below `root` in the reader's own terms. */
export function localize(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    element.textContent = STYLES[element.dataset.style](date);
    element.title = full.format(date);
  }
}

function tick() {
  for (const element of document.querySelectorAll("[data-since]")) {
    element.textContent = duration(Date.now() / 1000 - Number(element.dataset.since));
  }
}

localize();
setInterval(() => document.hidden || tick(), 1000);
setInterval(() => document.hidden || localize(), 30000);
