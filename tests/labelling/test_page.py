"""The page of `echocycle label` in a real browser: from a folder of recordings to traced labels, by clicks and drags."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.label_page import TOKEN, Server, Watch, chromium
from helpers.recording_files import cine, region, save
from helpers.videos import some_videos
from playwright.sync_api import Browser, expect

from echocycle.recordings.video import read_video, write_mjpeg

FRAMES = 40


def make_project(phantom: Path, folder: Path, videos: int = 8, dicom: int = 3) -> Path:
    """A folder of short phantom clips, the first few as DICOM with a patient and 0.6 mm pixels."""
    source = some_videos(phantom, folder / "source", videos + dicom)
    project = folder / "clinic"
    project.mkdir()
    for i, path in enumerate(sorted((source / "Videos").iterdir())):
        frames = read_video(path).frames[:FRAMES]
        if i >= dicom:
            write_mjpeg(project / f"clip-{i:02d}.avi", frames, 50)
            continue
        grey = np.asarray(frames if frames.ndim == 3 else frames[..., 0])
        calibrated = [region(RegionLocationMaxX1=grey.shape[2] - 1, RegionLocationMaxY1=grey.shape[1] - 1)]
        header = {"SequenceOfUltrasoundRegions": calibrated, "PatientID": f"P{i}", "SOPInstanceUID": f"1.2.3.{i + 1}"}
        save(cine(grey, **header), project / f"scan-{i:02d}.dcm")
    shutil.rmtree(folder / "source")
    return project


@pytest.fixture(scope="module")
def server(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(make_project(phantom_folder, tmp_path_factory.mktemp("label")))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


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


@pytest.fixture
def reader(browser: Browser, server: Server) -> Iterator[Callable[..., Reader]]:
    """Opens the page for a reader; at the end nothing may have gone wrong in any of them."""
    opened: list[Reader] = []

    def open_for(name: str = "", **context: Any) -> Reader:
        opened.append(Reader(browser, server, name, **context))
        return opened[-1]

    yield open_for
    for each in opened:
        each.context.close()
    assert [wrong for each in opened for wrong in each.watch.wrong] == []


def test_queue_lists_filters_and_searches(reader: Callable[..., Reader], server: Server) -> None:
    ana = reader()
    page = ana.page
    assert "token" not in page.url
    expect(page.locator(".queue-head [role=status]")).to_have_text("11 videos")
    page.keyboard.press("/")
    page.keyboard.type("scan")
    expect(page.locator(".row")).to_have_count(3)
    expect(page.locator(".row").first).to_contain_text("scan-00.dcm")
    page.get_by_label("Search").fill("nothing like it")
    expect(page.get_by_role("heading", name="No video fits")).to_be_visible()
    page.get_by_label("Search").fill("")
    expect(page.locator(".row")).to_have_count(11)
    page.get_by_role("button", name="Skipped").click()
    expect(page.get_by_role("heading", name="No video fits")).to_be_visible()
    page.get_by_role("button", name="All").click()
    page.get_by_label("Order").select_option("name")
    expect(page.locator(".row").first).to_contain_text("clip-03.avi")
    page.get_by_role("listbox").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator(".video-name")).to_have_text("scan-02.dcm")
    loaded = page.evaluate(
        "async (token) => { const i = new Image(); i.src = `/api/videos/${window.app.screen.id}/thumbnail.png?token=${token}`; await i.decode(); return i.naturalWidth; }",
        TOKEN,
    )
    assert loaded == 112


def test_proposal_becomes_a_label_by_hand(reader: Callable[..., Reader], server: Server) -> None:
    ana = reader()
    page = ana.page
    ana.open("scan-00.dcm")
    ana.wait_for_proposal()
    before = ana.contour("ed")
    assert len(before["points"]) == 12
    proposed = ana.ef()
    ana.drag(ana.handle("ed", 3), 30, 0)
    after = ana.contour("ed")
    assert after["points"][3][0] > before["points"][3][0] + 2
    assert after["points"][4] == before["points"][4]
    assert ana.ef() > proposed
    ana.saved()
    label = server.details("scan-00.dcm")["labels"]["Ana"]
    assert label["ed"]["points"][3] == pytest.approx(after["points"][3], abs=0.01)
    assert label["es"] is None

    # Undo and redo by key, seen by the server too.
    page.keyboard.press("Control+z")
    ana.saved()
    assert ana.contour("ed") == before
    assert server.details("scan-00.dcm")["labels"].get("Ana", {}).get("ed") is None
    page.keyboard.press("Control+y")
    ana.saved()
    assert server.details("scan-00.dcm")["labels"]["Ana"]["ed"]["points"][3] == pytest.approx(
        after["points"][3], abs=0.01
    )

    # Accept what is left of the proposal: ES.
    page.keyboard.press("Enter")
    ana.saved()
    details = server.details("scan-00.dcm")
    assert details["state"] == "traced"
    # The page's own EF is the server's.
    assert ana.ef() == pytest.approx(details["ef_discs"], abs=0.06)
    expect(page.locator(".panel .state")).to_have_text("Traced")
    page.keyboard.press("v")
    ana.saved()
    assert server.details("scan-00.dcm")["state"] == "checked"


def test_handles_are_added_removed_moved_and_scaled(reader: Callable[..., Reader], server: Server) -> None:
    ana = reader()
    page = ana.page
    ana.open("scan-01.dcm")
    ana.wait_for_proposal()
    start = ana.contour("ed")
    middle = page.evaluate(
        "async () => (await import('/static/curve.js')).curve(window.app.screen.session.shown('ed').points)[3 * 8 + 4]"
    )
    page.mouse.dblclick(*ana._screen(json.dumps(middle)))
    assert len(ana.contour("ed")["points"]) == 13
    assert ana.contour("ed")["points"][4] == pytest.approx(middle, abs=0.6)
    page.keyboard.press("Delete")
    assert ana.contour("ed")["points"] == pytest.approx(np.array(start["points"]), abs=0.01)
    page.keyboard.press("]")
    page.keyboard.press("Delete")  # the apex
    expect(page.locator(".toast")).to_contain_text("The apex and both ends")
    page.keyboard.press("Escape")

    x, y = np.array(start["points"]).mean(0)
    ana.drag(ana._screen(f"[{x}, {y}]"), 25, 10)
    moved = np.array(ana.contour("ed")["points"]) - np.array(start["points"])
    assert np.ptp(moved, axis=0) == pytest.approx([0, 0], abs=0.05)
    assert moved[0][0] > 2

    area = "async () => { const c = await import('/static/curve.js'); return c.area(c.curve(window.app.screen.session.shown('ed').points)); }"
    small = page.evaluate(area)
    grip = page.evaluate(
        "async () => { const { gripAt } = await import('/static/draw.js'); const s = window.app.screen, b = s.viewer.overlay.getBoundingClientRect(); const [x, y] = gripAt(s.viewer, s.session.shown('ed')); return [x + b.left, y + b.top]; }"
    )
    ana.drag(tuple(grip), 15, 15)
    large = page.evaluate(area)
    assert large > 1.05 * small
    page.keyboard.press("+")
    assert page.evaluate(area) == pytest.approx(large * 1.02**2, rel=0.01)
    page.keyboard.press("]")
    apex = ana.contour("ed")["points"][0]
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Alt+Shift+ArrowLeft")
    assert ana.contour("ed")["points"][0] == pytest.approx([apex[0] - 5, apex[1] - 1])

    undo = page.get_by_role("button", name="Undo")
    steps = 0
    while undo.is_enabled():
        undo.click()
        steps += 1
    assert steps == 7
    assert ana.contour("ed") == start
    ana.saved()
    assert "Ana" not in server.details("scan-01.dcm")["readers"]


def test_time_goes_by_keys_wheel_and_clicks(reader: Callable[..., Reader]) -> None:
    ana = reader()
    page = ana.page
    ana.open("clip-04.avi")
    frame = lambda: page.evaluate("() => window.app.screen.player.frame")  # noqa: E731
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageDown")
    assert frame() == 11
    box = page.locator(".overlay").bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, 100)
    page.mouse.wheel(0, 100)
    page.mouse.wheel(0, -100)
    page.wait_for_function("() => window.app.screen.player.frame === 12")
    line = page.locator(".timeline").bounding_box()
    assert line
    page.mouse.click(line["x"] + line["width"] / 2, line["y"] + 60)
    assert frame() == pytest.approx((FRAMES - 1) / 2, abs=1)
    page.keyboard.press("End")
    assert frame() == FRAMES - 1
    page.keyboard.press("Home")
    page.wait_for_function("() => window.app.screen.viewer.frames.loaded === 1")
    page.keyboard.press("Space")
    shown = page.evaluate(
        """async () => { const seen = new Set(), end = performance.now() + 700;
             while (performance.now() < end) { seen.add(window.app.screen.viewer.drawn); await new Promise(requestAnimationFrame); }
             return seen.size; }"""
    )
    page.keyboard.press("Space")
    assert shown >= 12  # 35 at 50 frames a second; a busy machine drops some and keeps the pace
    assert page.get_by_role("button", name="Play").is_visible()


def test_ed_and_es_are_moved(reader: Callable[..., Reader], server: Server) -> None:
    ana = reader()
    page = ana.page
    ana.open("clip-05.avi")
    ana.wait_for_proposal()
    ed, es = ana.contour("ed")["frame"], ana.contour("es")["frame"]
    line = page.locator(".timeline").bounding_box()
    assert line
    at = lambda frame: line["x"] + 14 + frame / (FRAMES - 1) * (line["width"] - 28)  # noqa: E731
    other = ed + 2 if ed + 2 != es and ed + 2 < FRAMES else ed - 2
    ana.drag((at(ed), line["y"] + 12), at(other) - at(ed), 0)
    page.wait_for_function(f"() => window.app.screen.session.frameOf('ed') === {other}")
    free = next(frame for frame in range(FRAMES) if frame not in (other, es))
    page.keyboard.press("Home")
    for _ in range(free):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    page.wait_for_function(f"() => window.app.screen.session.frameOf('es') === {free}")
    page.keyboard.press("Enter")
    ana.saved()
    label = server.details("clip-05.avi")["labels"]["Ana"]
    assert (label["ed"]["frame"], label["es"]["frame"]) == (other, free)


def test_known_ef_note_skip_and_next(reader: Callable[..., Reader], server: Server) -> None:
    ana = reader()
    page = ana.page
    ana.open("clip-06.avi")
    page.get_by_label("Known EF of the report").fill("57.5")
    page.get_by_label("Note").fill("Good window.")
    page.get_by_label("Known EF of the report").click()
    ana.saved()
    details = server.details("clip-06.avi")
    assert details["ef_known"] == 57.5
    assert details["labels"]["Ana"]["note"] == "Good window."
    page.get_by_label("Known EF of the report").fill("570")
    page.get_by_label("Note").click()
    expect(page.get_by_text("Give 0 to 100.")).to_be_visible()
    page.get_by_label("Known EF of the report").fill("57.5")
    page.get_by_role("button", name="Skip").click()
    page.get_by_role("button", name="Poor").click()
    ana.saved()
    row = server.videos()["clip-06.avi"]
    assert (row["state"], row["skip_reason"]) == ("skipped", "poor")
    page.get_by_role("button", name="Next video").click()
    expect(page.locator(".video-name")).not_to_have_text("clip-06.avi")
    ana.open("clip-06.avi")
    page.get_by_role("button", name="Take back skip").click()
    ana.saved()
    assert server.videos()["clip-06.avi"]["state"] in ("new", "proposed")


def test_reload_keeps_all(reader: Callable[..., Reader]) -> None:
    ana = reader()
    page = ana.page
    ana.open("scan-00.dcm")
    ana.saved()
    before = ana.contour("ed"), ana.contour("es"), ana.ef()
    page.reload()
    page.wait_for_function("() => window.app.screen.session?.shown('es')")
    assert (ana.contour("ed"), ana.contour("es"), ana.ef()) == before
    assert page.locator(".phase.ed .tag").inner_text() == "yours"


def test_second_reader_sees_the_difference(reader: Callable[..., Reader], server: Server) -> None:
    ben = reader("Ben")
    page = ben.page
    ben.open("scan-00.dcm")
    ben.wait_for_proposal()
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    ben.saved()
    assert sorted(server.videos()["scan-00.dcm"]["readers"]) == ["Ana", "Ben"]
    page.get_by_label("Show").select_option("Ana")
    expect(page.locator(".difference")).to_contain_text("Dice at ED")
    dice = float(page.locator(".difference b").first.inner_text())
    assert 0.7 < dice < 1
    expect(page.locator(".difference")).to_contain_text("EF, Ana")


def test_actions_wait_while_the_server_is_away(reader: Callable[..., Reader], server: Server) -> None:
    ana = reader()
    page = ana.page
    ana.watch.expected = re.compile("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
    ana.open("scan-02.dcm")
    ana.wait_for_proposal()
    page.wait_for_function("() => window.app.screen.viewer.frames.loaded === 1")
    server.kill()
    try:
        ana.drag(ana.handle("ed", 2), 12, 4)
        page.keyboard.press("Enter")
        expect(page.locator("#saved-words")).to_have_text("2 not saved yet")
        expect(page.get_by_role("alert")).to_contain_text("kept in this browser")
        kept = page.evaluate(
            "() => Object.keys(localStorage).filter((key) => key.startsWith('echocycle-outbox:')).length"
        )
        assert kept == 2
        drawn = ana.contour("ed")
    finally:
        server.start()
    expect(page.locator("#saved-words")).to_have_text("Saved", timeout=20_000)
    label = server.details("scan-02.dcm")["labels"]["Ana"]
    assert label["ed"]["points"] == drawn["points"]
    assert label["es"] is not None
    assert page.evaluate("() => Object.keys(localStorage).some((key) => key.startsWith('echocycle-outbox:'))") is False
    journal = (server.folder / "labels" / "journal.jsonl").read_text().splitlines()
    sent = [(entry["client"], entry["seq"]) for entry in map(json.loads, journal) if "client" in entry]
    assert len(sent) == len(set(sent))


def test_drag_is_drawn_in_time(reader: Callable[..., Reader], record_property: Callable[[str, object], None]) -> None:
    ana = reader()
    ana.open("scan-02.dcm")
    ana.wait_for_proposal()
    ana.drag(ana.handle("ed", 3), 60, 30, steps=120)
    took = ana.page.evaluate("() => performance.getEntriesByName('drag-redraw').map((entry) => entry.duration)")
    assert len(took) >= 20
    p95 = float(np.percentile(took, 95))
    record_property("p95_ms", p95)
    print(f"p95 of a drag's redraw: {p95:.1f} ms over {len(took)} steps")
    assert p95 < 150  # 50 ms is the aim on a machine that does nothing else


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_screen_fits_and_can_be_read(reader: Callable[..., Reader], width: int, scheme: str) -> None:
    ana = reader(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = ana.page
    for name in ("Queue", "Trace", "Train", "Review"):
        page.get_by_role("link", name=name).click()
        page.wait_for_function("() => document.querySelector('main').childElementCount > 0")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(UNNAMED) == [], name
        assert page.evaluate(CONTRAST) == [], name
    expect(page.locator("footer")).to_contain_text("not a medical device")
    before = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("l")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keys and gestures")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


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
