"""Does what browsers and clients do that look at runs. Arguments: address, token, browsers, clients, seconds, runs' ids.

Half of the browsers have the table of runs open, which looks again every four seconds and asks in between, each second,
whether there is news; half have a run's page open, with its events as a stream, which looks again at what the run logs
when it hears of metrics, at everything every ten seconds, and go to another run after twenty seconds. The clients ask the
API, one question a second each. Standard library only.
"""

import http.client
import json
import random
import re
import sys
import threading
import time
from urllib.parse import quote, urlencode, urlsplit

from stopwatch import report

TURN_S = 4.0  # refresh.js, while runs go on
NEWS_S = 1.0  # refresh.js: between two questions for news
METRICS_S, SHARE = 0.7, 10  # run.js: between two looks at metrics, and so many times as long as the last look took
EVERYTHING_S = 10.0  # run.js: between two looks at everything
STAY_S = 20.0
REST_S = 1.0  # of a client, between two questions
LOG = "azureml-logs/70_driver_log.txt"
END = re.compile(rb'class="logview"[^>]* data-end="(\d+)"')  # where the page's log ends, and its events begin
FILES = re.compile(rb'"(/static/[^"]+)"')
FIRST = 3  # events of a stream, which may tell what came before somebody looked
PRINTED = re.compile(rb"at (\d+\.\d+)")  # what the jobs print

url, token = sys.argv[1:3]
count, clients, lasts_s = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
runs = sys.argv[6:]
address = urlsplit(url).netloc
until = time.monotonic() + lasts_s
page_ms: list[float] = []
api_ms: list[float] = []
line_ms: list[float] = []  # from print to here, of the last line of each event
heard: list[int] = []
errors: list[str] = []


class Asking:
    """A connection of somebody who asks one thing after another."""

    def __init__(self) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def get(self, path: str, took_ms: list[float] | None, **headers: str) -> bytes:
        """Asks, and notes what that took; what is not answered well is an error."""
        started = time.perf_counter()
        try:
            answer, body = self._ask(path, headers)
        except ConnectionError:  # the server closes what rests for five seconds: browsers, too, open another then
            self.connection.close()
            answer, body = self._ask(path, headers)
        if took_ms is not None:
            took_ms.append((time.perf_counter() - started) * 1000)
        if answer.status not in (200, 304) or not (body or answer.status == 304):
            errors.append(f"{path}: {answer.status}")
        self.tag = answer.headers.get("ETag")
        return body

    def _ask(self, path: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {token}", **headers})
        answer = self.connection.getresponse()
        return answer, answer.read()


class Browser(Asking):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.kept: dict[str, str] = {}  # the tags of files by path

    def look(self, path: str) -> bytes:
        return self.get(path, page_ms, Accept="text/html")

    def open(self, path: str) -> bytes:
        """A page with its style and scripts, which a browser keeps and asks whether they are still those."""
        page = self.look(path)
        for file in sorted({found.decode() for found in FILES.findall(page)}):
            known = {"If-None-Match": self.kept[file]} if file in self.kept else {}
            self.get(file, None, **known)
            self.kept[file] = self.tag or ""
        return page

    def table(self) -> None:
        time.sleep(TURN_S * self.number / count)  # nobody opens all their pages in the same moment
        self.open("/runs")
        looks_at = time.monotonic() + TURN_S
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(NEWS_S, left_s))
            if time.monotonic() < looks_at:
                self.get("/news-of-runs", None)
            else:
                self.look("/runs")
                looks_at = time.monotonic() + TURN_S

    def run_pages(self) -> None:
        time.sleep(min(STAY_S, lasts_s / 4) * self.number / count)  # nor do they go to another one in the same seconds
        turn = self.number
        while time.monotonic() < until:
            run_id = runs[turn % len(runs)]
            path = f"/runs/{quote(run_id)}"
            end = END.search(self.open(path))
            stream = Stream(run_id, int(end[1]) if end else 0)
            try:
                self.follow(f"{path}/live", stream)
            finally:
                stream.close()
            turn += 1

    def follow(self, path: str, stream: "Stream") -> None:
        """Looks again when there is news, for as long as somebody stays at a page."""
        leaves_at, took_s = min(time.monotonic() + STAY_S, until), 0.0
        everything_at = time.monotonic() + EVERYTHING_S
        while (left_s := leaves_at - time.monotonic()) > 0:
            time.sleep(min(max(METRICS_S - took_s, SHARE * took_s), left_s))
            if stream.measured.wait(min(left_s, EVERYTHING_S)):
                stream.measured.clear()
                started = time.monotonic()
                self.look(f"{path}?parts=metrics")
                took_s = time.monotonic() - started
            if time.monotonic() >= everything_at:
                self.look(f"{path}?parts=all")
                everything_at = time.monotonic() + EVERYTHING_S


class Client(Asking):
    """A notebook, a command or a script that asks after runs."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.chance = random.Random(number)

    def ask(self) -> None:
        time.sleep(REST_S * self.chance.random())
        while (left_s := until - time.monotonic()) > 0:
            run = quote(self.chance.choice(runs))
            question = self.chance.choice(
                (
                    f"/runs/{run}",
                    f"/runs/{run}/metrics/summaries",
                    f"/runs/{run}/logs",
                    f"/runs/{run}/logs/{LOG}?offset=0&limit=20000",
                    "/runs?limit=20",
                    "/metrics/curves?" + urlencode({"run": run, "name": "loss", "width": 400}),
                )
            )
            self.get(f"/api/v1{question}", api_ms)
            time.sleep(min(REST_S, left_s))


class Stream:
    """A run's events, its log from where the page's ends; heard in a thread of its own."""

    def __init__(self, run_id: str, end: int) -> None:
        query = urlencode({"prefix": LOG, "offsets": json.dumps({LOG: end}), "metrics": "true"})
        started = time.perf_counter()
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.connection.request(
            "GET", f"/api/v1/runs/{quote(run_id)}/follow?{query}", headers={"Authorization": f"Bearer {token}"}
        )
        self.answer = self.connection.getresponse()
        api_ms.append((time.perf_counter() - started) * 1000)
        if self.answer.status != 200:
            errors.append(f"events of {run_id}: {self.answer.status}")
        self.closing = threading.Event()
        self.measured = threading.Event()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self) -> None:
        events = 0
        while line := self.answer.readline():
            events += line.startswith(b"event:")
            if line == b"event: metrics\n":
                self.measured.set()
            elif line.startswith(b"data:") and events > FIRST and (printed := PRINTED.findall(line)):
                line_ms.append((time.time() - float(printed[-1])) * 1000)
            if self.closing.is_set():
                break
        heard.append(events)
        if not self.closing.is_set():
            errors.append("a stream of events ended by itself")

    def close(self) -> None:
        self.closing.set()  # seen at the next line: jobs write several a second
        self.thread.join()
        self.connection.close()


def minded(work) -> None:  # type: ignore[no-untyped-def]
    try:
        work()
    except Exception as failure:
        errors.append(f"{type(failure).__name__}: {failure}")


def quantile(sample: list[float], share: float) -> float:
    return sorted(sample)[int(len(sample) * share)] if sample else float("nan")  # what is missing is among the errors


browsers = [Browser(number) for number in range(count)]
threads = [
    threading.Thread(target=minded, args=(browser.table if browser.number % 2 else browser.run_pages,))
    for browser in browsers
] + [threading.Thread(target=minded, args=(Client(number).ask,)) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for error in errors[:10]:
    print(error, file=sys.stderr)
report(
    {
        "api p50": [quantile(api_ms, 0.5)],
        "api p99": [quantile(api_ms, 0.99)],
        "page p50": [quantile(page_ms, 0.5)],
        "page p99": [quantile(page_ms, 0.99)],
        "pages": [len(page_ms) / lasts_s],
        "line p50": [quantile(line_ms, 0.5)],
        "line p99": [quantile(line_ms, 0.99)],
        "events": [sum(heard) / lasts_s],
        "errors": [len(errors)],
    }
)
