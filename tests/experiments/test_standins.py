"""What stands in for packages that are not installed does what the packages do; and a chain runs with them alone."""

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from echocycle.files import read_json

ROOT = Path(__file__).parents[2]
STANDINS = ROOT / "scripts" / "standins"
ALLOWED = (
    "torch", "torchvision", "lightning", "numpy", "pandas", "scipy", "scikit-learn", "opencv-python-headless",
    "matplotlib", "torchmetrics", "rich",
)  # fmt: skip


def standin(name: str) -> ModuleType:
    """A stand-in, by its path, beside the package that it stands in for."""
    path = STANDINS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"standin_{name.replace('/', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("whole", [True, False])
def test_polygons(whole: bool) -> None:
    """The same pixels as scikit-image, on whole and on odd corners, outside the frame, and crossing itself."""
    from skimage.draw import polygon

    rng = np.random.default_rng(0)
    for _ in range(60):
        y, x = rng.uniform(-8, 48, (2, rng.integers(3, 12)))
        if whole:
            y, x = np.rint(y), np.rint(x)
        masks = []
        for fill in (polygon, standin("skimage/draw").polygon):
            mask = np.zeros((40, 44), dtype=bool)
            mask[fill(y, x, (40, 44))] = True
            masks.append(mask)
        assert (masks[0] == masks[1]).all()


def test_hulls() -> None:
    """The same pixels as scikit-image, of fans and of scattered pixels."""
    from skimage.morphology import convex_hull_image

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :70]
    masks = [rng.random((60, 70)) < share for share in (0.002, 0.01, 0.1)]
    masks.append((np.hypot(rows - 3, columns - 35) < 50) & (np.abs(columns - 35) < rows))
    for mask in masks:
        mask[5, 5:8] = True
        mask[8, 30] = True
        assert (convex_hull_image(mask) == standin("skimage/morphology").convex_hull_image(mask)).all()


def test_outlines() -> None:
    from skimage.measure import find_contours

    rows, columns = np.mgrid[:40, :40]
    mask = (rows - 20) ** 2 / 150 + (columns - 18) ** 2 / 60 < 1
    (theirs,), (ours,) = find_contours(mask, 0.5), standin("skimage/measure").find_contours(mask, 0.5)
    assert (ours[0] == ours[-1]).all()
    assert {tuple(point) for point in theirs} == {tuple(point) for point in ours}


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    ours = standin("safetensors/torch")
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.arange(5),
        "c": torch.tensor(1.5, dtype=torch.bfloat16),
        "d": torch.tensor([True, False]),
        "e": torch.empty(0, 3),
    }
    ours.save_file(tensors, tmp_path / "ours")
    save_file(tensors, tmp_path / "theirs")
    for found in (load_file(tmp_path / "ours"), ours.load_file(tmp_path / "theirs")):
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        assert all(found[name].dtype == tensors[name].dtype for name in tensors)


def test_memory() -> None:
    import psutil

    ours, theirs = standin("psutil").virtual_memory(), psutil.virtual_memory()
    assert ours.total == theirs.total
    assert ours.available == pytest.approx(theirs.available, rel=0.2)


def test_table_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandera.pandas as pandera

    rows = pd.DataFrame({"ef": [50.0, 130.0, np.nan], "fps": [50, -1, 30]}, index=[2, 3, 4])
    rules = {"ef": lambda table: table["ef"].between(0, 100), "fps": lambda table: table["fps"] > 0}
    with monkeypatch.context() as inside:
        inside.setitem(sys.modules, "pandera", ModuleType("pandera"))
        sys.modules["pandera"].errors = standin("pandera/errors")  # type: ignore[attr-defined]
        ours = standin("pandera/pandas")
    broken = []
    for library in (pandera, ours):
        checks = [library.Check(rule, name=name, ignore_na=False) for name, rule in rules.items()]
        with pytest.raises(library.errors.SchemaErrors) as raised:
            library.DataFrameSchema(checks=checks).validate(rows, lazy=True)
        cases = raised.value.failure_cases[["check", "index"]].drop_duplicates()
        broken.append(sorted(map(tuple, cases.astype(str).to_numpy().tolist())))
    assert broken[0] == broken[1] == [("ef", "3"), ("ef", "4"), ("fps", "3")]
    told = []
    for library in (pandera, ours):
        finite = library.Check(lambda numbers: np.isfinite(numbers), error="finite")
        filled = library.Check(lambda numbers: numbers.notna(), error="filled", ignore_na=False)
        below = library.Check(lambda numbers: numbers < 100, error="below")
        columns = {
            "ef": library.Column(float, [filled, finite, below], nullable=True, metadata={"whole": ""}),
            "name": library.Column(object, [library.Check.isin(["a", "b"], error="known")]),
        }
        assert [str(column.dtype) for column in columns.values()] == ["float64", "object"]
        table = pd.DataFrame({"ef": rows["ef"], "name": pd.Series(["a", "c", "b"], rows.index, dtype=object)})
        with pytest.raises(library.errors.SchemaErrors) as raised:
            library.DataFrameSchema(columns).validate(table, lazy=True)
        told.append(
            sorted(
                (str(error.schema.name), str(error.check.error), [int(line) for line in error.failure_cases["index"]])
                for error in raised.value.schema_errors
            )
        )
    assert told[0] == told[1] == [("ef", "below", [3]), ("ef", "filled", [4]), ("name", "known", [3])]
    good = rows.iloc[:1]
    assert ours.DataFrameSchema(checks=checks).validate(good, lazy=True) is good


@pytest.mark.parametrize("color", [False, True])
def test_videos(tmp_path: Path, color: bool) -> None:
    from echocycle.recordings.video import read_video

    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (7, 14, 14)), np.ones((8, 8))).astype(np.uint8)
    frames = np.repeat(smooth[..., None], 3, -1) if color else smooth
    av = standin("av")
    av.write_mjpeg(tmp_path / "a.avi", frames, 50.0)
    found, fps, listed = av.read_mjpeg(tmp_path / "a.avi", color)
    assert found.shape == frames.shape
    assert (fps, listed) == (50.0, 7)
    assert np.abs(found.astype(int) - frames).mean() < 2
    theirs = read_video(tmp_path / "a.avi", color=color).frames  # PyAV reads it as well
    assert np.abs(found.astype(int) - theirs).max() <= 2


def test_in_the_place_of_pyav(tmp_path: Path) -> None:
    """Imported as `av`, as in a started process, the stand-in hands itself in, and every recording says so."""
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        f"sys.path.insert(0, {str(STANDINS)!r})\n"
        "from echocycle.recordings.video import read_video, write_mjpeg\n"
        "frames = np.arange(3, dtype=np.uint8).repeat(112 * 112).reshape(3, 112, 112) * 80\n"
        "write_mjpeg(Path('a.avi'), frames, 50)\n"
        "found = read_video(Path('a.avi'))\n"
        "print(found.notes[0], found.fps, found.frames[:, 0, 0].tolist())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"{standin('av').NOTE} 50.0 [0, 80, 160]", done.stderr


def blocked_packages() -> list[str]:
    """Top-level names of every installed package that the machine for long runs need not have."""
    from packaging.requirements import Requirement

    allowed: set[str] = {"echocycle", "pip", "setuptools"}
    waiting = list(ALLOWED)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in allowed:
            continue
        allowed.add(name)
        try:
            needs = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    installed = packages_distributions()
    return sorted(
        top
        for top, distributions in installed.items()
        if not {re.sub(r"[-_.]+", "-", each).lower() for each in distributions} & allowed
    )


BLOCKER = """
import sys
from importlib.machinery import PathFinder

BLOCKED = {blocked!r}

class WithoutBlocked:
    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in BLOCKED:
            path = [each for each in sys.path if "site-packages" not in each]
        return PathFinder.find_spec(name, path, target)

sys.meta_path = [WithoutBlocked if finder is PathFinder else finder for finder in sys.meta_path]
"""


def test_annotations_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in takes every parameter that `settings/flags.py` makes."""
    import cyclopts

    from echocycle.settings import flags

    original = cyclopts.Parameter
    monkeypatch.setattr(cyclopts, "Parameter", standin("cyclopts").Parameter)
    stood_in = runpy.run_path(str(flags.__file__))
    parameters = {name: value for name, value in vars(flags).items() if isinstance(value, original)}
    assert len(parameters) > 4
    for name, parameter in parameters.items():
        assert tuple(stood_in[name].said) == parameter._provided_args, name


@pytest.mark.slow
def test_a_chain_runs_without_everything_else(tmp_path: Path) -> None:
    """scripts/gpu.sh --smoke, with every package blocked that a bare machine need not have, in its workers too."""
    blocked = blocked_packages()
    assert {"av", "cyclopts", "pydicom", "safetensors", "jaxtyping", "skimage", "psutil", "pandera"} <= set(blocked)
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(BLOCKER.format(blocked=set(blocked)))
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "path"), "PYTHON": sys.executable}
    command = ["sh", str(ROOT / "scripts" / "gpu.sh"), "--minutes", "10", str(out), "--smoke", "--workers", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("av", "cyclopts", "jaxtyping", "pandera", "psutil", "safetensors", "skimage"):
        assert name in done.stderr.split("stood in for:")[1].splitlines()[0]
    left = {file.name for file in out.iterdir()}
    for table in ("table-1", "table-4", "own-row"):
        assert {f"{table}.{end}" for end in ("md", "csv", "comparisons.csv", "json", "predictions.csv.gz")} <= left
    assert {"losses.csv.gz", "validation.csv.gz", "chain.json"} <= left
    assert not any(file.suffix in (".safetensors", ".ckpt", ".u8") for file in out.rglob("*"))
    chain = read_json(out / "chain.json")
    assert chain["seeds"] == [0]
    assert not chain["failed"]
    assert not chain["left"]
    rows = set(pd.read_csv(out / "table-1.csv")["row"])
    assert len(rows) == 6
    losses = pd.read_csv(out / "losses.csv.gz")
    assert losses["run"].nunique() == sum(job.startswith(("segment ", "regress ")) for job in chain["done"])
