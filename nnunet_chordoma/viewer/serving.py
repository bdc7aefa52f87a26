"""Run a viewer until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
import webbrowser
from urllib.parse import quote, urlencode

from nnunet_chordoma.viewer.contents import Contents
from nnunet_chordoma.viewer.server import ViewerServer

WAKE_S = 0.2


def serve(contents: Contents, port: int, browser: bool, slice_index: int | None = None) -> None:
    """Print the address (at a slice of the first case), open a browser if asked to, serve until a signal ends it."""
    with ViewerServer(contents, port) as server:
        end = threading.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda _number, _frame: end.set())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": WAKE_S}, daemon=True)
        thread.start()
        place = {"case": contents.cases[0].name, "slice": slice_index}
        address = server.url if slice_index is None else f"{server.url}#{urlencode(place, quote_via=quote)}"
        print(f"viewer at {address} (this machine only; Ctrl-C ends it)", flush=True)
        if browser:
            # In a thread: browsers of the terminal hold this call, and with it Ctrl-C.
            threading.Thread(target=_open, args=(address,), daemon=True).start()
        while not end.wait(WAKE_S):
            pass
        server.shutdown()
        thread.join()
    print("viewer ended", flush=True)


def _open(address: str) -> None:
    if not webbrowser.open(address):
        print("no browser found here; open the address in one on this machine", flush=True)
