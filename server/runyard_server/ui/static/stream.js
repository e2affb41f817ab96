// The server's events of a run: its status and one of its logs, for as long as somebody looks at the page.

const AGAIN_MS = 2000;

export class Stream {
  /**
   * @param run the run's id
   * @param place gives {name, end} of the log that is followed, or null for none
   * @param heard {log(said), status(), metrics(), end(), following(yes)}; metrics may be left out
   */
  constructor(run, place, heard) {
    this.run = run;
    this.place = place;
    this.heard = heard;
    this.ended = false;
    this.source = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    this.open();
  }

  open() {
    if (this.source || this.ended || document.hidden) return;
    const at = this.place();
    const query = new URLSearchParams(at ? { prefix: at.name, offsets: JSON.stringify({ [at.name]: at.end }) } : { logs: "false" });
    if (this.heard.metrics) query.set("metrics", "true");
    const source = new EventSource(`/api/v1/runs/${encodeURIComponent(this.run)}/follow?${query}`);
    this.source = source;
    const listen = (kind, work) => source.addEventListener(kind, (event) => source === this.source && work(event));
    listen("open", () => this.heard.following(Boolean(at)));
    listen("log", (event) => {
      const said = JSON.parse(event.data);
      if (said.name === at?.name) this.heard.log(said);
    });
    listen("status", () => this.heard.status());
    listen("metrics", () => this.heard.metrics?.());
    listen("end", () => {
      this.ended = true;
      this.close();
      this.heard.end();
    });
    listen("error", () => {
      // The browser would go on from the old offset and show the log twice.
      this.close();
      setTimeout(() => this.open(), AGAIN_MS);
    });
  }

  // A browser opens only some six connections to a server: a page that nobody looks at holds none.
  close() {
    this.source?.close();
    this.source = null;
    this.heard.following(false);
  }

  /** From another place on. */
  restart() {
    this.close();
    this.open();
  }
}
