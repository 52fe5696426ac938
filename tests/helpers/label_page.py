"""A browser on the page of `echocycle label`, and its server as a process that can be killed and started again."""

import json
import mimetypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright

import echocycle.labelling
from echocycle.bundle_description import PACKAGED, read_description
from echocycle.files import sha256
from echocycle.labelling.project import ID
from echocycle.labelling.worker import Looker
from echocycle.recordings.video import read_video, write_mjpeg
from helpers.recording_files import cine, region, save
from helpers.videos import some_videos

PAGE = Path(echocycle.labelling.__file__).parent / "page"
ROOT = Path(echocycle.labelling.__file__).parents[2]
TOKEN = "token-of-the-tests"
PATIENCE = 30_000
"""Milliseconds in which the page must show what is expected: tests may share two cores with much else."""
SERVE = "import sys; from echocycle.labelling.serve import serve; serve(sys.argv[1], port=int(sys.argv[2]), reader='Ana', model='zero', token=sys.argv[3])"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        expect.set_options(timeout=PATIENCE)
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
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True, start_new_session=True)
        log.close()
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if self.ask("/api/project"):
                    return
            assert self.process.poll() is None, (self.folder.parent / "server.log").read_text()
            time.sleep(0.1)
        raise AssertionError("The server did not start.")

    def kill(self) -> None:
        """As a power cut would end it, with the processes that it has begun."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
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


class Reader:
    """Somebody at the page: what hands do, and what eyes see."""

    def __init__(self, browser: Browser, server: Server, name: str = "", **context: Any) -> None:
        self.server = server
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        self.page = self.context.new_page()
        self.watch = Watch(self.page, server.base)
        if name:
            self.page.add_init_script(f"localStorage.setItem('echocycle-reader', {json.dumps(name)})")
        self.page.goto(server.address)
        expect(self.page.locator(".row").first).to_be_visible()

    def open(self, name: str) -> None:
        """A video, by its row in the queue."""
        self.page.get_by_role("link", name="Queue").click()
        self.page.locator(".row").filter(has_text=name).click()
        expect(self.page.locator(".video-name")).to_have_text(name)
        self.page.wait_for_function("() => window.app.screen.viewer?.drawn !== null")

    def wait_for_proposal(self) -> None:
        self.page.wait_for_function("() => window.app.screen.session?.shown('es')", timeout=60_000)
        self.page.keyboard.press("1")

    def handle(self, phase: str, index: int) -> tuple[float, float]:
        """Where a handle is on the screen."""
        return self._screen(f"s.session.shown('{phase}').points[{index}]")

    def _screen(self, point: str) -> tuple[float, float]:
        x, y = self.page.evaluate(
            f"""() => {{ const s = window.app.screen, box = s.viewer.overlay.getBoundingClientRect();
                         const [x, y] = s.viewer.toScreen({point}); return [x + box.left, y + box.top]; }}"""
        )
        return x, y

    def drag(self, start: tuple[float, float], dx: float, dy: float, steps: int = 8) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(start[0] + dx, start[1] + dy, steps=steps)
        mouse.up()

    def contour(self, phase: str) -> dict[str, Any]:
        return self.page.evaluate(f"() => window.app.screen.session.shown('{phase}')")

    def saved(self) -> None:
        expect(self.page.locator("#saved-words")).to_have_text("Saved")

    def ef(self) -> float:
        return float(self.page.locator(".ef-value").inner_text().replace("%", "").replace("−", "-"))


FRAMES = 48


def make_project(phantom: Path, folder: Path, videos: int = 5, dicom: int = 3) -> Path:
    """A folder of phantom clips, the first few as DICOM with a patient and 0.6 mm pixels.

    All but the last two are cut short. Those are whole: the cyclical loss needs 80 frames of some video.
    """
    source = some_videos(phantom, folder / "source", videos + dicom)
    project = folder / "clinic"
    project.mkdir()
    for i, path in enumerate(sorted((source / "Videos").iterdir())):
        frames = read_video(path).frames
        frames = frames if i >= videos + dicom - 2 else frames[:FRAMES]
        if i >= dicom:
            write_mjpeg(project / f"clip-{i:02d}.avi", frames, 50)
            continue
        grey = np.asarray(frames if frames.ndim == 3 else frames[..., 0])
        calibrated = [region(RegionLocationMaxX1=grey.shape[2] - 1, RegionLocationMaxY1=grey.shape[1] - 1)]
        header = {"SequenceOfUltrasoundRegions": calibrated, "PatientID": f"P{i}", "SOPInstanceUID": f"1.2.3.{i + 1}"}
        save(cine(grey, **header), project / f"scan-{i:02d}.dcm")
    shutil.rmtree(folder / "source")
    return project


def look_at_all(project: Path) -> None:
    """Fill the project's cache with what the model `zero` sees, by the worker's own code, before anybody waits for it."""
    model = PACKAGED["zero"]
    description, look = read_description(model), Looker(model)
    for path in sorted(project.glob("*.*")):
        video = sha256(path)[:ID]
        look(video, path, project / "cache" / "proposals" / description.id)


def predict_some(project: Path, *names: str) -> None:
    """Results of `predict` in the project, by the model `zero`."""
    from echocycle.stages import predict

    predict(*(project / name for name in names), out=project / "results" / "first", model=PACKAGED["zero"], stride=40)


UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea, a[href], [role=slider], [role=listbox]")]
  .filter((e) => e.offsetParent && !(e.getAttribute("aria-label") || e.innerText?.trim() || e.labels?.length || e.title))
  .map((e) => e.outerHTML)"""

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (words) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = words; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255]; };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.offsetParent || e.closest(":disabled, .sr, .skip, svg")) continue;
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${e.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return low;
}"""
