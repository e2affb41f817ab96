// A log of any length in a window of some thousand lines: more is fetched where the reader scrolls to, what is far is let go.

import { lastState, plain, putLine, unstyled } from "./ansi.js";

const CHUNK_BYTES = 128 << 10;
const CHUNK_LINES = 2000;
const MOST_CHUNKS = 6;
const MOST_PENDING = 1 << 20; // characters that came since the last picture; of more, only the end is drawn
const NEAR_PX = 600;
const LAID_OUT_LINES = 200; // a chunk with fewer is laid out wherever the reader is
const LINE_PX = 19;

const encoder = new TextEncoder();
const units = ["B", "KB", "MB", "GB"];

function sized(bytes) {
  let place = 0;
  for (; bytes >= 999.5 && place < units.length - 1; place++) bytes /= 1000;
  return `${place && bytes < 99.5 ? bytes.toFixed(1) : Math.round(bytes)} ${units[place]}`;
}

/** Some whole lines of the log that stand below each other: bytes `start` to `end`. */
class Chunk {
  constructor(start, end, lines) {
    this.start = start;
    this.end = end;
    this.element = document.createElement("div");
    this.element.className = "chunk";
    this.style = unstyled();
    this.bytes = 0; // of the lines that were added, with their ends
    for (const line of lines) this.add(line);
  }

  get lines() {
    return this.element.childElementCount;
  }

  add(line) {
    const element = document.createElement("div");
    putLine(element, line, this.style);
    if (!element.firstChild) element.append("\u200b"); // an empty line is a line
    this.element.append(element);
    if (this.lines === LAID_OUT_LINES) this.element.classList.add("long");
    if (this.lines >= LAID_OUT_LINES) this.element.style.containIntrinsicHeight = `auto ${this.lines * LINE_PX}px`;
    return element;
  }
}

export class LogView {
  /**
   * @param root the element of log_view.html
   * @param restart is called when the log is to be followed anew, from `this.end` on
   */
  constructor(root, restart = () => {}) {
    this.root = root;
    this.pre = root.querySelector("pre");
    this.name = root.dataset.name;
    this.address = `/api/v1/runs/${encodeURIComponent(root.dataset.run)}/logs/${this.name.split("/").map(encodeURIComponent).join("/")}`;
    this.restart = restart;
    this.size = Number(root.dataset.end); // bytes that are known to be there
    this.end = this.size; // up to where it is followed
    this.chunks = [];
    this.attached = true; // the last lines are those at the log's end
    this.open = ""; // the line that has not ended
    this.pending = "";
    this.matches = null;
    this.turn = Promise.resolve(); // what moves the window comes one after the other
    root.querySelector(".log-bar").hidden = false;
    root.querySelector(".cut")?.remove();
    this.listen();
    const at = root.dataset.at;
    this.queue(() => (at ? this.show(Number(at)) : this.showEnd()));
  }

  queue(work) {
    this.turn = this.turn.then(work).catch((fault) => this.say(`The log cannot be read now: ${fault.message}`));
    return this.turn;
  }

  listen() {
    const doing = { start: () => this.show(0), end: () => this.toEnd() };
    for (const [name, work] of Object.entries(doing)) {
      this.root.querySelector(`[data-do="${name}"]`).addEventListener("click", () => this.queue(work));
    }
    const form = this.root.querySelector(".find");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.queue(() => this.find(1));
    });
    form.querySelector('[data-do="previous"]').addEventListener("click", () => this.queue(() => this.find(-1)));
    form.querySelector("input").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !event.shiftKey) return;
      event.preventDefault();
      this.queue(() => this.find(-1));
    });
    this.pre.addEventListener("keydown", (event) => {
      const work = { Home: doing.start, End: doing.end }[event.key];
      if (!work || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.queue(work);
    });
    this.pre.addEventListener("scroll", () => this.scrolled(), { passive: true });
  }

  say(text) {
    this.root.querySelector(".found").textContent = text;
  }

  // Where the window is

  async read(start, end) {
    const answer = await fetch(`${this.address}?offset=${start}&limit=${end - start}`);
    if (!answer.ok) throw new Error(answer.statusText || `status ${answer.status}`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  /** Whole lines from `start` on, where a line begins. */
  async after(start) {
    const bytes = await this.read(start, start + CHUNK_BYTES);
    this.size = Math.max(this.size, start + bytes.length);
    let used = bytes.length;
    if (start + used < this.size) used = bytes.lastIndexOf(10) + 1 || used;
    let lines = 0;
    for (let place = 0; place < used; place++) {
      if (bytes[place] === 10 && ++lines === CHUNK_LINES) used = place + 1;
    }
    return this.chunk(start, bytes.subarray(0, used));
  }

  /** Whole lines up to `end`, where a line ends. */
  async before(end) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const bytes = await this.read(start, end);
    let skipped = start ? bytes.indexOf(10) + 1 : 0;
    if (skipped >= bytes.length) skipped = 0; // one long line
    let lines = 0;
    for (let place = bytes.length - 2; place >= skipped; place--) {
      if (bytes[place] === 10 && ++lines === CHUNK_LINES) skipped = place + 1;
    }
    return this.chunk(start + skipped, bytes.subarray(skipped));
  }

  chunk(start, bytes) {
    const lines = new TextDecoder().decode(bytes).split("\n");
    const last = lines.pop();
    const chunk = new Chunk(start, start + bytes.length, lines);
    if (last) chunk.add(last);
    chunk.open = last;
    return chunk;
  }

  reset(chunks) {
    this.chunks = chunks;
    this.pre.replaceChildren(...chunks.map((chunk) => chunk.element));
  }

  async showEnd() {
    const size = this.size;
    const chunk = await this.before(size);
    this.reset([chunk]);
    this.attach(chunk);
    this.pre.scrollTop = this.pre.scrollHeight;
    this.tell();
  }

  attach(chunk) {
    this.attached = true;
    this.open = chunk.open ?? "";
    this.openElement = this.open ? chunk.element.lastElementChild : null;
    this.openStyle = null;
    this.pending = "";
    if (this.end !== chunk.end) {
      this.end = chunk.end;
      this.restart();
    }
  }

  async toEnd() {
    if (!this.attached) return this.showEnd();
    this.pre.scrollTop = this.pre.scrollHeight;
    this.tell();
  }

  /** The line that has byte `at` in it comes to the top. */
  async show(at) {
    const from = Math.max(0, at - 4096);
    const head = from ? await this.read(from, at) : null;
    const start = head ? at - head.length + head.lastIndexOf(10) + 1 : 0;
    const chunk = await this.after(from && head.lastIndexOf(10) >= 0 ? start : from);
    const whole = chunk.end >= this.size;
    this.reset([chunk]);
    if (whole) this.attach(chunk);
    else this.attached = false;
    this.pre.scrollTop = 0;
    await this.fill();
    this.tell();
    return chunk;
  }

  scrolled() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.tell();
      this.queue(() => this.fill());
    });
  }

  /** Fetches what is near to the window, and lets go of what is far. */
  async fill() {
    const { pre } = this;
    const first = this.chunks[0];
    if (first && first.start > 0 && pre.scrollTop < NEAR_PX) {
      const chunk = await this.before(first.start);
      const height = pre.scrollHeight;
      const top = pre.scrollTop;
      pre.prepend(chunk.element);
      this.chunks.unshift(chunk);
      pre.scrollTop = top + pre.scrollHeight - height;
      while (this.chunks.length > MOST_CHUNKS) {
        this.chunks.pop().element.remove();
        this.attached = false;
      }
    }
    const last = this.chunks.at(-1);
    if (last && !this.attached && pre.scrollHeight - pre.scrollTop - pre.clientHeight < NEAR_PX) {
      const chunk = await this.after(last.end);
      if (chunk.end > chunk.start) {
        pre.append(chunk.element);
        this.chunks.push(chunk);
        this.trimTop();
      }
      if (this.chunks.at(-1).end >= this.size) this.attach(this.chunks.at(-1));
    }
  }

  trimTop() {
    const { pre } = this;
    while (this.chunks.length > MOST_CHUNKS) {
      const height = pre.scrollHeight;
      const top = pre.scrollTop;
      this.chunks.shift().element.remove();
      pre.scrollTop = top - (height - pre.scrollHeight);
    }
  }

  tell() {
    const first = this.chunks[0];
    const where = this.root.querySelector(".where");
    if (!first || this.size <= CHUNK_BYTES) {
      where.textContent = this.size ? sized(this.size) : "";
      return;
    }
    const last = this.chunks.at(-1);
    const share = (this.pre.scrollTop + this.pre.clientHeight) / Math.max(1, this.pre.scrollHeight);
    const at = first.start + (last.end - first.start) * Math.min(1, share);
    where.textContent = `${Math.min(100, Math.round((100 * at) / this.size))} % of ${sized(this.size)}`;
  }

  // What comes

  /** Text that has come, up to byte `end`. */
  write(text, end) {
    this.size = Math.max(this.size, end);
    this.end = end;
    if (!this.attached || !this.chunks.length) return this.tell();
    this.pending += text;
    this.pendingEnd = end;
    if (this.pending.length > 2 * MOST_PENDING) this.pending = this.pending.slice(-MOST_PENDING);
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.draw();
    });
  }

  draw() {
    const { pre } = this;
    if (!this.attached || !this.pending) return;
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
    let text = this.open + this.pending;
    this.pending = "";
    if (text.length > MOST_PENDING) {
      text = text.slice(text.indexOf("\n", text.length - CHUNK_BYTES) + 1 || -CHUNK_BYTES);
      this.reset([new Chunk(this.pendingEnd - encoder.encode(text).length, this.pendingEnd, [])]);
      this.openElement = null;
    }
    const lines = text.split("\n");
    const last = lines.pop();
    let chunk = this.chunks.at(-1);
    this.openElement?.remove();
    this.openElement = null;
    if (this.openStyle) chunk.style = this.openStyle; // that of the line's begin
    for (const line of lines) {
      if (chunk.lines >= CHUNK_LINES) chunk = this.next(chunk);
      chunk.add(line);
      if (chunk.unmeasured) chunk.bytes += encoder.encode(line).length + 1;
    }
    this.openStyle = { ...chunk.style };
    // Of the open line, only what can still matter: its last state, and a sequence that may go on.
    const kept = last.lastIndexOf("\r", last.length - 2);
    this.open = kept > 0 && plain(last.slice(kept + 1)).trim() ? last.slice(kept + 1) : last;
    if (plain(lastState(this.open))) this.openElement = chunk.add(this.open);
    chunk.end = this.pendingEnd;
    this.measure();
    if (atEnd) {
      while (this.chunks.length > MOST_CHUNKS) this.chunks.shift().element.remove();
      pre.scrollTop = pre.scrollHeight;
    } else if (this.chunks.length > MOST_CHUNKS + 2) {
      this.detach();
    }
    this.tell();
  }

  /** The reader is elsewhere, and too much has come since: it is fetched again when it is wanted. */
  detach() {
    while (this.chunks.length > MOST_CHUNKS) this.chunks.pop().element.remove();
    this.attached = false;
  }

  next(before) {
    const chunk = new Chunk(0, 0, []);
    chunk.style = before.style;
    chunk.unmeasured = true;
    this.chunks.push(chunk);
    this.pre.append(chunk.element);
    return chunk;
  }

  /** Where chunks that came as text begin, in bytes: found from the end. */
  measure() {
    if (!this.chunks.some((chunk) => chunk.unmeasured)) return;
    let end = this.pendingEnd - encoder.encode(this.open).length;
    for (const chunk of [...this.chunks].reverse()) {
      if (chunk !== this.chunks.at(-1)) chunk.end = end;
      if (!chunk.unmeasured) break;
      chunk.start = end - chunk.bytes;
      chunk.unmeasured = chunk === this.chunks.at(-1); // more is added to the last one
      end = chunk.start;
    }
  }

  // Search

  async find(step) {
    const text = this.root.querySelector(".find input").value;
    if (!text) return this.say("");
    if (this.matches?.text !== text || this.matches.size !== this.size) await this.search(text, step);
    const { offsets, more } = this.matches;
    if (!offsets.length) return this.say("not found");
    this.matches.place = (this.matches.place + step + offsets.length) % offsets.length;
    const at = offsets[this.matches.place];
    this.say(`${this.matches.place + 1} of ${offsets.length}${more ? "+" : ""}`);
    await this.show(Math.max(0, at));
    this.mark(text);
    if (this.root.closest(".tall")) {
      const here = new URL(location.href);
      here.searchParams.set("at", at);
      history.replaceState(null, "", here);
    }
  }

  async search(text, step) {
    this.say("searching…");
    const query = new URLSearchParams({ name: this.name, text });
    const answer = await fetch(`/runs/${encodeURIComponent(this.root.dataset.run)}/log/matches?${query}`);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const found = await answer.json();
    const was = this.matches?.text === text ? this.matches.place : step > 0 ? -1 : 0;
    this.matches = { text, size: this.size, place: Math.min(was, found.offsets.length - 1), ...found };
  }

  /** Marks the line that the window was moved to. */
  mark(text) {
    this.pre.querySelector(".hit")?.classList.remove("hit");
    const wanted = text.toLowerCase();
    const top = this.pre.getBoundingClientRect().top;
    const lines = [...this.pre.querySelectorAll(".chunk > div")];
    const hit = lines.find((line) => line.getBoundingClientRect().bottom > top && line.textContent.toLowerCase().includes(wanted));
    hit?.classList.add("hit");
    hit?.scrollIntoView({ block: "center" });
  }
}
