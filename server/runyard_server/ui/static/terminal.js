// What a terminal would show of a growing log: no control sequences, of a progress bar its last state.
// The server does the same for the part that comes with the page (terminal_text.py).

const SEQUENCES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ\\`-~])/g;
const BROKEN = /\x1b(?:[\[\]PX^_][^\n]*)?/g;
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
const MOST_CHARACTERS = 2_000_000;

function lastState(line) {
  const states = line.split("\r").filter(Boolean);
  return states.length ? states[states.length - 1] : "";
}

const plain = (text) => text.replace(SEQUENCES, "").replace(BROKEN, "").replace(CONTROLS, "");

/** A <pre> that grows, and follows its own end while the reader is there. */
export class Terminal {
  constructor(element) {
    this.element = element;
    const text = element.textContent;
    const start = text.lastIndexOf("\n") + 1;
    this.open = text.slice(start); // the line that has not ended
    this.line = document.createTextNode(this.open);
    element.replaceChildren(document.createTextNode(text.slice(0, start)), this.line);
    this.length = start;
    this.toEnd();
  }

  write(text) {
    const { element } = this;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    const lines = (this.open + text).split("\n");
    const last = lines.pop();
    // Of the open line, only what can still matter: its last state, and a sequence that may go on.
    const kept = last.lastIndexOf("\r", last.length - 2);
    this.open = kept > 0 && last.slice(kept + 1).trim() ? last.slice(kept + 1) : last;
    if (lines.length) {
      const done = lines.map((line) => lastState(plain(line))).join("\n") + "\n";
      this.line.before(document.createTextNode(done));
      this.length += done.length;
    }
    this.line.data = lastState(plain(this.open));
    while (this.length > MOST_CHARACTERS && element.childNodes.length > 2) {
      this.length -= element.firstChild.data.length;
      element.firstChild.remove();
    }
    if (atEnd) this.toEnd();
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }
}
