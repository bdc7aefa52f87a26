"""Headless Chromium, driven over a pipe: for the viewer's benchmark and tests."""

from __future__ import annotations

import base64
import io
import json
import os
import selectors
import shutil
import subprocess
import time

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
PATIENCE_S = 60


class Browser:
    """Headless Chromium, spoken to over the two pipes of --remote-debugging-pipe: JSON messages that end in NUL."""

    def __init__(self, profile, width=1280, height=800):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [
            *(CHROMIUM, "--headless=new", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run"),
            *("--disable-background-networking", "--hide-scrollbars", f"--window-size={width},{height}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe"),
            f"--user-data-dir={profile}",
            # Chromium's sandbox refuses the root user, as whom tests run in containers.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        # The browser reads its descriptor 3 and writes to 4.
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "browser", *command], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        for handle in (theirs_in, theirs_out):
            os.close(handle)
        self._in, self._out = ours_in, ours_out
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(ours_in, selectors.EVENT_READ)
        self._session, self._count, self._read, self.events = None, 0, b"", []
        target = self.call("Target.createTarget", url="about:blank", newWindow=True, width=width, height=height)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self._read:
            assert self._waiting.select(PATIENCE_S), "the browser does not answer"
            block = os.read(self._in, 1 << 20)
            assert block, "the browser has ended"
            self._read += block
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def js(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression):
        """Wait until an expression is true; what the page says then goes into the failure."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self.js(f"Boolean({expression})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"{expression}: {self.complaints} {self.js('document.body.innerText')!r}")

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait("['ready', 'failed'].includes(document.body?.dataset.state)")

    def key(self, key):
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def pixels(self):
        """Screenshot (y, x, rgb)."""
        from matplotlib.image import imread

        data = base64.b64decode(self.call("Page.captureScreenshot", optimizeForSpeed=True)["data"])
        return (imread(io.BytesIO(data))[..., :3] * 255).astype(int)

    @property
    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    @property
    def complaints(self):
        """Errors on the console, uncaught exceptions and violations of the content security policy."""
        thrown = [e["params"] for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        said = [e["params"] for e in self.events if e["method"] == "Runtime.consoleAPICalled"]
        return thrown + [each for each in said if each["type"] == "error"]

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        for handle in (self._in, self._out):
            os.close(handle)
