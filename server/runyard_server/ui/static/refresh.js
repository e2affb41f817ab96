// Looks again, every few seconds, at a page with parts that change.

import { fetchPage, remember, replaceParts } from "./parts.js";

remember();
const part = document.querySelector("[data-refresh]");
if (part) {
  const name = part.dataset.part;
  const turn = async () => {
    if (!document.hidden) {
      const page = await fetchPage(location.href);
      if (page) replaceParts(page);
    }
    const present = document.querySelector(`[data-part="${name}"]`);
    if (present && present.dataset.refresh) setTimeout(turn, 1000 * Number(present.dataset.refresh));
  };
  setTimeout(turn, 1000 * Number(part.dataset.refresh));
}
