// Takes over the parts of a page that the server has made anew; what did not change is left alone.

import { localize } from "./times.js";

const before = new Map();

// Times that run are no change: times.js lets them run. Nor is the id that a button offers for the next run.
const sourceOf = (part) => part.outerHTML.replace(/(data-since="[^"]*">)[^<]*|new_id=[^"]*/g, "$1");

/** Remembers the parts as the server sent them, before any script changes them. */
export function remember(root = document) {
  for (const part of root.querySelectorAll("[data-part]")) before.set(part.dataset.part, sourceOf(part));
}

/** Fetches a page of this server as a document; null where that fails, for this time. */
export async function fetchPage(address) {
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null; // the server is away; the next turn asks again
  }
}

/**
 * Leaves empty places in a fresh part where the present one has the same picture: it stays as it is, and is not
 * fetched again. Gives each place with its picture.
 */
function setAside(part, present) {
  const here = [...present.querySelectorAll("img")];
  const found = [];
  for (const picture of part.querySelectorAll("img")) {
    const place = here.findIndex((old) => old.getAttribute("src") === picture.getAttribute("src"));
    if (place < 0) continue;
    const [old] = here.splice(place, 1);
    old.alt = picture.alt;
    const empty = document.createElement("span");
    picture.replaceWith(empty);
    found.push([empty, old]);
  }
  return found;
}

/** Replaces the parts that differ from what the server sent last. Returns the names of those. */
export function replaceParts(page) {
  const changed = [];
  for (const part of page.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    const source = sourceOf(part);
    const present = document.querySelector(`[data-part="${name}"]`);
    if (!present || before.get(name) === source) continue;
    before.set(name, source);
    for (const details of part.querySelectorAll("details[data-keep]")) {
      const old = present.querySelector(`details[data-keep="${details.dataset.keep}"]`);
      if (old) details.open = old.open;
    }
    for (const box of part.querySelectorAll('input[type="checkbox"]')) {
      const old = present.querySelector(`input[value="${CSS.escape(box.value)}"]`);
      if (old) box.checked = old.checked;
    }
    const pictures = setAside(part, present);
    const fresh = document.adoptNode(part);
    localize(fresh);
    present.replaceWith(fresh);
    for (const [place, picture] of pictures) place.replaceWith(picture);
    changed.push(name);
  }
  return changed;
}
