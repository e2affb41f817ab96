"""What a gang's driver tells a server over HTTP that is not always there."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runyard.job.ray_gang_away import Sayings
from runyard.transport.http import HttpTransport

AWAY = (503, b"away")
NONSENSE = (200, b"[]")
HEARD = (200, b'{"goes_on": true}')


class Played:
    """A server that answers what it is given, one after the other, and the last of it from then on."""

    def __init__(self, answers):
        self.heard = threading.Condition()
        self.told = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])).decode())
                with played.heard:
                    code, text = answers[min(len(played.told), len(answers) - 1)]
                    played.told.append(body)
                    played.heard.notify_all()
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{}".format(self.server.server_port)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until_asked(self, times):
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.told) >= times, 60)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("trouble, words", [(AWAY, "503"), (NONSENSE, "Traceback")])
def test_what_goes_wrong_is_said_once_and_tried_until_the_server_has_heard(trouble, words, capsys):
    played = Played([trouble, trouble, trouble, HEARD])
    says = Sayings(HttpTransport(lambda: played.url, lambda: "token", patience_s=0.0), "r", 1)
    for times in (1, 2, 3, 4):
        says.say({"begun": True})  # which also has it try at once
        played.until_asked(times)
    assert says.until_said(patience_s=60) and not says.is_taken_back
    assert capsys.readouterr().err.count(words) == 1
    played.close()
