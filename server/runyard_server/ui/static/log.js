// The page of one log: its window, and what comes while the run lives.

import { LogView } from "./logview.js";
import { Stream } from "./stream.js";

const root = document.querySelector(".logview");
if (root) {
  let stream = null;
  const view = new LogView(root, () => stream?.restart());
  if (document.getElementById("log").dataset.live) {
    stream = new Stream(root.dataset.run, () => ({ name: view.name, end: view.end }), {
      log: (said) => view.write(said.text, said.end),
      status: () => {},
      end: () => {},
      following: (yes) => (document.querySelector(".following").hidden = !yes),
    });
  }
}
