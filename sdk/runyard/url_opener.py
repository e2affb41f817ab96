"""How urllib comes to read the addresses of the URL map from this machine's files: one more handler in its opener."""

import email.message
import email.utils
import mimetypes
import os
import urllib.request
import urllib.response
from typing import Any, Dict

from runyard.notices import say_once
from runyard.url_map import VARIABLE, UrlMap

_installed: Dict[int, str] = {}  # by process: the map that urllib reads by now


class MappedAddresses(urllib.request.BaseHandler):
    """A handler of urllib that answers GET and HEAD of mapped addresses; every other request goes on to the others."""

    handler_order = 100

    def __init__(self, urls: UrlMap) -> None:
        self._urls = urls

    def default_open(self, request: urllib.request.Request) -> Any:
        """urllib asks this before it looks for whoever speaks the address's protocol."""
        if request.get_method() not in ("GET", "HEAD"):
            return None
        path = self._urls.file_for(request.full_url)
        return None if path is None else _answer(request, path)


def install() -> None:
    """From now on urllib reads mapped addresses from their files, in this process; says so once.

    Does nothing where no map is configured.

    Raises:
        UserErrorException: see UrlMap.
    """
    path = os.environ.get(VARIABLE)
    if not path or _installed.get(os.getpid()) == path:
        return
    urls = UrlMap(path)
    handler = MappedAddresses(urls)
    there = getattr(urllib.request, "_opener", None)  # what the program itself has installed stays
    if there is None:
        urllib.request.install_opener(urllib.request.build_opener(handler))
    else:
        there.add_handler(handler)
    _installed[os.getpid()] = path
    say_once("urllib reads the addresses in {} from this machine's files, as {} says.".format(urls.path, VARIABLE))


class _Answer(urllib.response.addinfourl):
    msg = "OK"  # http.client's answers have it, and urllib asks for it


def _answer(request: urllib.request.Request, path: str) -> Any:
    source = open(path, "rb")
    found = os.fstat(source.fileno())
    headers = email.message.Message()
    headers["Content-Type"] = mimetypes.guess_type(path)[0] or "application/octet-stream"
    headers["Content-Length"] = str(found.st_size)
    headers["Last-Modified"] = email.utils.formatdate(found.st_mtime, usegmt=True)
    if request.get_method() == "HEAD":
        source.seek(0, os.SEEK_END)
    return _Answer(source, headers, request.full_url, 200)
