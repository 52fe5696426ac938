"""What README and docs/ say can be done: commands and options exist, links lead somewhere, the example method works."""

import re
import shlex
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclopts import App, CycloptsError

from echocycle import cli
from echocycle.data.store import Store
from echocycle.settings.override import sections_of
from echocycle.settings.presets import preset

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLE = ROOT / "docs" / "add-a-method.md"
MADE_UP = ("echocycle/regression/robust.py", "tests/regression/test_robust.py")
"""Files that the example of add-a-method.md would add."""


def name_of(page: Path) -> str:
    """The page as seen from the root."""
    return page.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------------------------------------- commands


def commands() -> list[tuple[str, str]]:
    """Every call of echocycle in a shell block, with its page; variables are filled in, comments are left out."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.M | re.S):
            block = block.replace("\\\n", " ")
            for name, value in re.findall(r"^(\w+)=[\"'](.*?)[\"']", block, re.M):
                block = block.replace(f"${name}", value)
            calls = (call.strip() for line in block.splitlines() for call in re.split(r"[;|]|&&", line.split(" #")[0]))
            found += [(name_of(page), " ".join(call.split())) for call in calls if call.startswith("echocycle")]
    return found


@cache
def application() -> App:
    """The command line; parsing leaves it as it is."""
    return cli.command_line()


def problem_of(line: str) -> str | None:
    """What is wrong with a call, found without running it; None if nothing is."""
    _, *words = shlex.split(line)
    app = application()
    try:
        _, bound, _ = app.meta.parse_args(words, exit_on_error=False, print_error=False)
        app.parse_args(bound.args, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return str(error)
    given = bound.arguments
    if given.get("preset") is not None:
        preset(given["preset"])
    sections_of(tuple(given.get("set_") or ()))
    return None


@pytest.mark.parametrize(("page", "line"), [pytest.param(*each, id=f"{each[0]}: {each[1]}") for each in commands()])
def test_every_command_exists_with_its_options(page: str, line: str) -> None:
    assert problem_of(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "echocycle pedict video.avi -o OUT --model MODEL",
        "echocycle predict video.avi -o OUT --model MODEL --strid 4",
        "echocycle prepare FOLDER",
        "echocycle train FOLDER --otu RUNS",
    ],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    assert problem_of(line) is not None


def test_methods_and_experiments_exist() -> None:
    """Their names are words of the command line that parsing lets through."""
    from echocycle import regression, segmentation
    from echocycle.experiments import EXPERIMENTS

    asked: dict[str, set[str]] = {"segment": set(), "regress": set(), "experiment": set()}
    for _, line in commands():
        _, command, *words = shlex.split(line)
        if command == "experiment" and words:
            asked[command].add(words[0])
        elif "--method" in words:
            asked[command].add(words[words.index("--method") + 1])
    assert asked["segment"] <= set(segmentation.METHODS)
    assert asked["regress"] <= {*regression.METHODS, "robust"}
    assert asked["experiment"] <= set(EXPERIMENTS)
    assert all(asked.values())


# ------------------------------------------------------------------------------------------ links and paths


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "LOG.md"], ids=name_of)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=name_of)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = re.findall(
        r"\b(?:echocycle|tests|scripts|docs)/[\w/.-]+\.(?:py|sh|md|svg|png)\b", page.read_text(encoding="utf-8")
    )
    missing = [name for name in named if name not in MADE_UP and not (ROOT / name).exists()]
    assert not missing


def test_the_readme_stays_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert text.count("<!-- results -->") == text.count("<!-- end of results -->") == 1


# -------------------------------------------------------------------------------------- the example method


def test_the_example_method_works_as_it_stands(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, the line in METHODS and the test of add-a-method.md, run."""
    from echocycle import regression

    part = EXAMPLE.read_text(encoding="utf-8").split("\n## ")[1]
    file, line, test = re.findall(r"^```python\n(.*?)^```", part, re.M | re.S)
    module = ModuleType("echocycle.regression.robust")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(file, "robust.py of add-a-method.md", "exec"), module.__dict__)
    (name, method), *none = eval(f"{{{line}}}", module.__dict__).items()
    assert not none
    monkeypatch.setitem(regression.METHODS, name, method)
    space: dict[str, Any] = {"__name__": "test_robust"}
    exec(compile(test, "test_robust.py of add-a-method.md", "exec"), space)
    tests: dict[str, Callable[..., None]] = {key: value for key, value in space.items() if key.startswith("test_")}
    assert len(tests) == 2
    tests["test_known_answers"]()
    tests["test_the_gradient_reaches_the_whole_network"](store)
