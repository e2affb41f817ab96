// Names the run whose curve is under the pointer, in all pictures at once. The pictures stand without this.

function light(run) {
  for (const figure of document.querySelectorAll(".overlay")) {
    figure.classList.toggle("lit", run !== null);
    const output = figure.querySelector("output");
    output.dataset.all ??= output.textContent;
    output.textContent = output.dataset.all;
    for (const line of figure.querySelectorAll(".line")) {
      const here = line.dataset.run === run;
      line.classList.toggle("on", here);
      if (here) output.textContent = `${run}: ${line.dataset.last}`;
    }
  }
}

document.addEventListener("pointermove", (event) => {
  const line = event.target.closest?.(".overlay .line");
  light(line ? line.dataset.run : null);
});
