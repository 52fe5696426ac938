"""A browser on the page of `echocycle label`, and its server as a process that can be killed and started again."""

import mimetypes
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, sync_playwright

import echocycle.labelling

PAGE = Path(echocycle.labelling.__file__).parent / "page"
ROOT = Path(echocycle.labelling.__file__).parents[2]
TOKEN = "token-of-the-tests"
SERVE = "import sys; from echocycle.labelling.serve import serve; serve(sys.argv[1], port=int(sys.argv[2]), reader='Ana', model='zero', token=sys.argv[3])"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


class Server:
    """`echocycle label` as a process of its own, always at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"{self.base}/?token={TOKEN}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        log = open(self.folder.parent / "server.log", "a", encoding="utf-8")  # noqa: SIM115 the process keeps it
        command = [sys.executable, "-c", SERVE, str(self.folder), str(self.port), TOKEN]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True)
        log.close()
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if self.ask("/api/project"):
                    return
            assert self.process.poll() is None, (self.folder.parent / "server.log").read_text()
            time.sleep(0.1)
        raise AssertionError("The server did not start.")

    def kill(self) -> None:
        """As a power cut would end it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask(self, path: str) -> Any:
        answer = httpx.get(self.base + path, headers={"X-Token": TOKEN}, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def videos(self) -> dict[str, dict[str, Any]]:
        """Short rows by name."""
        return {row["name"]: row for row in self.ask("/api/videos?limit=500&order=name")["videos"]}

    def details(self, name: str) -> dict[str, Any]:
        return self.ask(f"/api/videos/{self.videos()[name]['id']}")


class Watch:
    """Everything that a page says or asks for that it should not."""

    def __init__(self, page: Page, base: str) -> None:
        self.base, self.wrong = base, list[str]()
        self.expected: re.Pattern[str] | None = None
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        said = f"{message.text} {message.location.get('url', '')}"
        if message.type in ("error", "warning") and not (self.expected and self.expected.search(said)):
            self.wrong.append(f"{message.type}: {said}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.base, "blob:", "data:")):
            self.wrong.append(f"asks another host: {request.url}")


def modules(page: Page) -> None:
    """Serve the page's own files to a page without a server: `import("/static/curve.js")`."""

    def answer(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[1]
        if not name:
            route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
            return
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
        route.fulfill(body=(PAGE / name).read_bytes(), content_type=kind)

    page.route("http://page.test/**", answer)
    page.goto("http://page.test/")
