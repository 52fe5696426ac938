"""docs/tutorial.md, followed to the letter: its commands in a terminal, its clicks in a browser, on a few small clips.

Each sentence of a numbered step that begins with a verb of `VERBS` is done as it stands. Three things differ from what
a reader does: the training is one of seconds and not of hours, one point of a contour is dragged and not all, and the
model has looked at the recordings before, by the worker's own code, so that nobody waits for it.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.label_page import ROOT, Watch, chromium
from helpers.videos import some_videos
from playwright.sync_api import Browser, Locator, Page, expect

from echocycle.bundle_description import PACKAGED, read_description
from echocycle.files import sha256
from echocycle.labelling.project import ID
from echocycle.labelling.worker import Looker

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
VERBS = ["Click", "Press", "Drag", "Type", "Choose", "Wait", "Do"]
PRESET = {"Usual for this machine": "Debug: a trial of seconds"}
"""What is chosen in place of what the page says."""
VIDEOS, NEW = 4, 1
LONGEST, PATIENCE = 600_000, 120_000
"""Milliseconds for a training, and for all else, such as the first proposal, on a machine that does much else."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Terminal:
    """Runs the tutorial's commands in the folder in which `clinic` lies; the page opens through $BROWSER."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "terminal.txt"
        self.opened = folder / "address"
        script = folder / "browser"
        script.write_text(f'#!/bin/sh\necho "$1" > {shlex.quote(str(self.opened))}\n')
        script.chmod(0o755)
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "BROWSER": f"{script} %s"}
        self.running: subprocess.Popen[bytes] | None = None

    def run(self, command: str) -> None:
        name, *words = shlex.split(command)
        assert name == "echocycle"
        self.opened.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "echocycle", *words],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def ends(self, codes: tuple[int, ...] = (0,)) -> None:
        assert self.running is not None
        assert self.running.wait(120) in codes, self.said()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def address(self, page: Page) -> str:
        """The address with which the browser was opened."""
        assert self.running is not None
        for _ in range(600):
            if self.opened.exists() and (told := self.opened.read_text().strip()):
                return told
            assert self.running.poll() is None, self.said()
            page.wait_for_timeout(100)
        raise AssertionError("No browser was opened.")

    def interrupt(self) -> None:
        """Ctrl and C."""
        assert self.running is not None
        self.running.send_signal(signal.SIGINT)
        self.ends()


class Hands:
    """Does what a sentence of the tutorial says."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.drags = 0

    def do(self, sentence: str) -> None:
        bold, code = re.findall(r"\*\*(.+?)\*\*", sentence), re.findall(r"`(.+?)`", sentence)
        verb = sentence.split()[0]
        if verb == "Click" and "first row" in sentence:
            self.page.locator(".row").first.click()
            expect(self.page.locator(".video-name")).to_be_visible()
        elif verb == "Click":
            self.click(bold[0])
        elif verb == "Press":
            self.page.keyboard.press(code[0])
        elif verb == "Type":
            self.page.get_by_label(bold[0]).fill(code[0])
        elif verb == "Choose":
            wanted, field = bold
            assert wanted in self.page.get_by_label(field).locator("option").all_inner_texts()
            self.page.get_by_label(field).select_option(label=PRESET.get(wanted, wanted))
        elif verb == "Drag":
            self.drag()
        elif verb == "Wait":
            shown = self.page.locator("main").get_by_text(bold[0], exact=True)
            expect(shown.first).to_be_visible(timeout=LONGEST)
        else:
            raise AssertionError(f"Nobody knows how to do this: {sentence}")

    def click(self, name: str) -> None:
        thing = self.named(name)
        if name == "Export labels":
            with self.page.expect_download() as saved:
                thing.click()
            assert Path(saved.value.path()).stat().st_size > 100
            return
        shown = self.page.evaluate("() => document.querySelector('.video-name')?.textContent")
        thing.click()
        if name == "Next video":  # there is another, or a sentence
            changed = "(was) => document.querySelector('.toast') || ![was, ''].includes(document.querySelector('.video-name')?.textContent)"
            self.page.wait_for_function(changed, arg=shown)

    def named(self, name: str) -> Locator:
        """The button or link of this name; a key that is written on it does not belong to it."""
        name = name.removesuffix(" …")
        words = re.compile(rf"^\s*{re.escape(name)}\b")
        return self.page.get_by_role("link", name=words).or_(self.page.get_by_role("button", name=words)).first

    def drag(self) -> None:
        """A point of the contour that is shown, outwards by two pixels."""
        place = """() => { const s = window.app.screen, box = s.viewer.overlay.getBoundingClientRect();
            const contour = s.session?.own[s.session.phaseHere()];
            if (!contour) return null; const [x, y] = s.viewer.toScreen(contour.points[3]);
            return { x: x + box.left, y: y + box.top, points: JSON.stringify(contour.points) }; }"""
        self.page.wait_for_function(f"() => ({place})() !== null")
        start = self.page.evaluate(place)
        mouse = self.page.mouse
        mouse.move(start["x"], start["y"])
        mouse.down()
        mouse.move(start["x"] + 10, start["y"], steps=4)
        mouse.up()
        assert self.page.evaluate(place)["points"] != start["points"]
        self.drags += 1


def numbered() -> list[tuple[int, str]]:
    """What is to be done, in the tutorial's order, with its step; commands, marked by "$ ", and Ctrl and C have step 0."""
    todo: list[tuple[int, str]] = []
    found = re.compile(
        r"^```sh\n(?P<sh>[^`]*)^```|^(?P<n>\d+)\. (?P<step>[^\n]*(?:\n {3,}[^\n]*)*)|(?P<c>Ctrl and C)", re.M
    )
    number = 0
    for each in found.finditer(TUTORIAL):
        if each["sh"]:
            todo.append((0, "$ " + each["sh"].strip()))
        elif each["c"]:
            todo.append((0, "Ctrl-C"))
        else:
            number += 1
            assert int(each["n"]) == number
            todo += [(number, sentence) for sentence in sentences(each["step"], number)]
    return todo


def repeat(hands: Hands, first: int, last: int, until: str) -> None:
    """Do steps again until the page says so, which happens at the first of them."""
    todo = [sentence for number, sentence in numbered() if first <= number <= last]
    for _ in range(VIDEOS):
        for sentence in todo:
            hands.do(sentence)
            if hands.page.get_by_text(until).is_visible():
                return
    raise AssertionError(f"The page never said: {until}")


def sentences(step: str, number: int) -> list[str]:
    """Those of a step that say what to do."""
    told = re.split(r"(?<=[.?!])(?:\*\*)? (?=[A-Z*])", " ".join(step.split()))
    todo = [sentence for sentence in told if sentence.split()[0] in VERBS]
    assert todo, f"step {number} does not say what to do: {step}"
    assert told[0] in todo, f"step {number} does not begin with what to do: {step}"
    return todo


def test_the_tutorial_leads_from_a_folder_to_a_reviewed_answer(
    browser: Browser, phantom_folder: Path, tmp_path: Path
) -> None:
    clinic = tmp_path / "clinic"
    clips = sorted((some_videos(phantom_folder, tmp_path / "source", VIDEOS + NEW) / "Videos").iterdir())
    for clip in clips:
        folder = tmp_path / "elsewhere" if clip in clips[VIDEOS:] else clinic / "recordings"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder)
    look = Looker(PACKAGED["zero"])
    for clip in (clinic / "recordings").iterdir():
        look(sha256(clip)[:ID], clip, clinic / "cache" / "proposals" / read_description(PACKAGED["zero"]).id)
    terminal = Terminal(tmp_path)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    watch: Watch | None = None
    hands = Hands(page)
    try:
        for _, step in numbered():
            began = time.monotonic()
            if step.startswith("$ ") and " label " in step:
                terminal.run(step[2:])
                address = terminal.address(page)
                watch = Watch(page, address.split("/?")[0])
                page.goto(address)
                expect(page.locator(".row").first).to_be_visible()
                assert watch.wrong == []
            elif step.startswith("$ "):
                terminal.run(step[2:])
                terminal.ends((0, 1))
            elif step == "Ctrl-C":
                page.goto("about:blank")
                terminal.interrupt()
                shutil.copytree(tmp_path / "elsewhere", clinic / "new", dirs_exist_ok=True)
            elif again := re.match(r"Do steps (\d+) to (\d+) again", step):
                repeat(hands, int(again[1]), int(again[2]), re.findall(r"\*\*(.+?)\*\*", step)[0])
            else:
                hands.do(step)
            print(f"{time.monotonic() - began:5.1f} s  {step}")
    finally:
        if terminal.running and terminal.running.poll() is None:
            terminal.running.send_signal(signal.SIGTERM)
            terminal.running.wait(60)
        context.close()
    assert hands.drags >= 2 * VIDEOS
    assert watch is not None
    assert watch.wrong == []
