// A line as a terminal shows it: colours as classes, of a line that was written over its last state, no other sequence.
// Everything is put in as text; terminal_text.py does the same, without colours, for what comes with the page.

const OTHERS = /\x1b(?:\[[0-?]*[ -/]*(?!m)[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-OQ-WYZ\\`-~])/g;
const COLOUR = /\x1b\[([0-9;:]*)m/;
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

/** What stands in a line that was written over after each carriage return. */
export function lastState(line) {
  if (!line.includes("\r")) return line;
  const states = line.split("\r").filter((state) => plain(state));
  return states.length ? states[states.length - 1] : "";
}

/** The text alone. */
export const plain = (text) => text.replace(OTHERS, "").replace(/\x1b(?:\[[0-9;:]*m?)?/g, "").replace(CONTROLS, "");

export const unstyled = () => ({ colour: null, back: null, bold: false, faint: false, italic: false, underline: false });

/** Puts a line into `element`; `style` is what goes on from the line before. */
export function putLine(element, line, style) {
  const parts = lastState(line).replace(OTHERS, "").split(COLOUR);
  parts.forEach((part, place) => {
    if (place % 2) return change(style, part);
    const text = plain(part);
    if (!text) return;
    const classes = classesOf(style);
    if (!classes) return element.append(text);
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = text;
    element.append(span);
  });
}

function classesOf(style) {
  const names = [];
  if (style.colour !== null) names.push(`a${style.colour}`);
  if (style.back !== null) names.push(`k${style.back}`);
  for (const name of ["bold", "faint", "italic", "underline"]) if (style[name]) names.push(`a-${name}`);
  return names.join(" ");
}

function change(style, codes) {
  const numbers = codes.split(/[;:]/).map(Number);
  for (let place = 0; place < numbers.length; place++) {
    const code = numbers[place];
    if (code === 0) Object.assign(style, unstyled());
    else if (code === 1) style.bold = true;
    else if (code === 2) style.faint = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.underline = true;
    else if (code === 22) style.bold = style.faint = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if (code === 39) style.colour = null;
    else if (code === 49) style.back = null;
    else if (code >= 30 && code <= 37) style.colour = code - 30;
    else if (code >= 90 && code <= 97) style.colour = code - 90;
    else if (code >= 40 && code <= 47) style.back = code - 40;
    else if (code >= 100 && code <= 107) style.back = code - 100;
    else if (code === 38 || code === 48) {
      const [colour, used] = far(numbers.slice(place + 1));
      style[code === 38 ? "colour" : "back"] = colour;
      place += used;
    }
  }
}

/** One of many colours as the nearest of eight, which can be read in the light and in the dark. */
function far([kind, ...rest]) {
  if (kind === 2) return [nearest(rest[0], rest[1], rest[2]), 4];
  const number = rest[0] ?? 7;
  if (number < 16) return [number % 8, 2];
  if (number > 231) return [number < 244 ? 0 : 7, 2];
  const cube = number - 16;
  return [nearest(...[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((part) => part * 51)), 2];
}

const nearest = (...parts) => parts.reduce((bits, part, place) => bits | ((part || 0) > 110 ? 1 << place : 0), 0);
