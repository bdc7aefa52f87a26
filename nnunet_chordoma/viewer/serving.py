"""Run a viewer until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
import webbrowser

from nnunet_chordoma.viewer.contents import Contents
from nnunet_chordoma.viewer.server import ViewerServer

WAKE_S = 0.2


def serve(contents: Contents, port: int, browser: bool) -> None:
    """Print the address, open a browser if asked to, and serve until a signal ends it."""
    with ViewerServer(contents, port) as server:
        end = threading.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda _number, _frame: end.set())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": WAKE_S}, daemon=True)
        thread.start()
        print(f"viewer at {server.url} (this machine only; Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(server.url)
        while not end.wait(WAKE_S):
            pass
        server.shutdown()
        thread.join()
    print("viewer ended", flush=True)
