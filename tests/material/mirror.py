# SPDX-License-Identifier: MIT
"""A web server on this machine, with the faults of real ones: what the tests download from."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror:
    """Serves `files`, a dict of names and bytes, at `url` as long as its `with` block lasts.

    breaks        : the n-th answer ends after breaks[n] bytes, though more were promised; None for no break.
    pause         : seconds after each 100 bytes.
    stalls        : the n-th answer pauses after stalls[n] bytes until `release` is called; None for no pause.
    ignores_range : whole files only, whatever part is asked for.
    shifted       : parts begin elsewhere than was asked, and say so.
    says_length   : whether an answer tells its length.
    statuses      : the n-th answer has this status and nothing else; None for what is right.
    """

    def __init__(
        self, files, breaks=(), stalls=(), ignores_range=False, shifted=False, says_length=True, statuses=(), pause=0
    ):
        self.files = files
        self.breaks, self.stalls, self.statuses = list(breaks), list(stalls), list(statuses)
        self.ignores_range, self.shifted, self.says_length = ignores_range, shifted, says_length
        self.pause = pause
        self.ranges = []  # the Range of each request so far, None where it had none
        self.asked = threading.Semaphore(0)  # released at each request
        self._released = threading.Event()

    def __enter__(self):
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # the name that http.server wants
                with contextlib.suppress(ConnectionError):  # the client may have gone
                    mirror._answer(self)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # so that closing waits for them
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def release(self):
        self._released.set()

    def _answer(self, request):
        number = len(self.ranges)
        self.ranges.append(request.headers["Range"])
        self.asked.release()
        content = self.files.get(request.path[1:])
        status = _nth(self.statuses, number) or (404 if content is None else 200)
        if status != 200:
            request.send_error(status)
            return

        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if begin and begin >= len(content) and not self.ignores_range:
            request.send_error(416)
            return
        if begin and not self.ignores_range:
            begin -= self.shifted
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            content = content[begin:]
        else:
            request.send_response(200)
        if self.says_length:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()

        pause = _nth(self.stalls, number)
        if pause is not None:
            request.wfile.write(content[:pause])
            self._released.wait()
            content = content[pause:]
        content = content[: _nth(self.breaks, number)]
        portion = 100 if self.pause else len(content)
        for first in range(0, len(content), portion or 1):
            request.wfile.write(content[first : first + portion])
            self._released.wait(self.pause)


def _nth(faults, number):
    return faults[number] if number < len(faults) else None
