// Views of the table of runs under names of the reader's own: kept in this browser, each an address that anyone can open.

const KEY = "runyard-views";
const MOST = 50;

function kept() {
  try {
    const known = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(known) ? known.filter((view) => typeof view.name === "string" && typeof view.query === "string") : [];
  } catch {
    return []; // a browser that keeps nothing, or what somebody else wrote there
  }
}

// Of the address: all that is chosen, but not the page of it.
function present() {
  const query = new URLSearchParams(location.search);
  query.delete("after");
  return query.toString();
}

const root = document.querySelector(".views");

function keep(views) {
  try {
    localStorage.setItem(KEY, JSON.stringify(views.slice(0, MOST)));
  } catch {
    root.querySelector("output").textContent = "This browser keeps nothing for this page.";
    return;
  }
  draw();
}

function draw() {
  const list = root.querySelector("ul");
  const here = present();
  list.replaceChildren(
    ...kept().map((view) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = `/runs?${view.query}`;
      link.textContent = view.name;
      if (view.query === here) link.setAttribute("aria-current", "true");
      const gone = document.createElement("button");
      gone.type = "button";
      gone.textContent = "\u00d7";
      gone.setAttribute("aria-label", `Forget the view ${view.name}`);
      gone.addEventListener("click", () => keep(kept().filter((other) => other.name !== view.name)));
      item.append(link, gone);
      return item;
    }),
  );
  root.querySelector("details").hidden = !here || kept().some((view) => view.query === here);
}

if (root) {
  root.hidden = false;
  root.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = root.querySelector("input");
    const name = field.value.trim();
    if (!name) return;
    keep([...kept().filter((view) => view.name !== name), { name, query: present() }]);
    field.value = "";
    root.querySelector("details").open = false;
  });
  draw();
}

// "/" goes to the filter, wherever the reader is.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  document.querySelector(".filter")?.focus();
});
