"""How many true EFs intervals hold, and how wide they are: the numbers of docs/results/intervals.md.

    python scripts/intervals.py draw TABLE.csv [--videos 1000]      # held-out phantom videos by the packaged networks
    python scripts/intervals.py phantom TABLE.csv[.gz] [--divisions 200]
    python scripts/intervals.py stored EXPERIMENT.predictions.csv.gz [--divisions 200]

Videos are divided at random into selection, calibration and test, again and again. `plain` is split conformal
prediction with one width, `predicted band` Mondrian by the band of the predicted EF, `true band` what the package
gives (`echocycle/calibration.py`); `discs` is that of the EF by discs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from echocycle.calibration import LEVEL, TINY, Known, bands, intervals
from echocycle.evaluation.calibrate import SIGNS, coverage, fit_difficulty

BANDS = ("all", "under 40", "40 to 49", "50 and more")
Method = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], np.ndarray]


def draw(path: Path, videos: int) -> None:
    """Append EF by regression (four clips) and by discs of phantom videos that no network has seen, 60 frames each."""
    import torch

    from echocycle.bundle import load_bundle
    from echocycle.cardiac.discs import ef_by_discs
    from echocycle.inference.clips import THRESHOLD, ef_of_clips
    from echocycle.inference.masks import probabilities
    from echocycle.phantom.clip import make_clip
    from echocycle.phantom.settings import PhantomSettings

    bundle, cpu = load_bundle(Path("zero")), torch.device("cpu")
    assert bundle.segmenter is not None
    assert bundle.regressor is not None
    settings = PhantomSettings(seed=777, frames_min=60, frames_median=60, frames_max=72)
    done = len(pd.read_csv(path)) if path.exists() else 0
    if not done:
        path.write_text("index,ef_true,ef_pred,clips,spread,ef_discs,fps,frames,beats\n")
    for index in range(done, videos):
        clip = make_clip(index, settings)
        masks = np.concatenate(list(probabilities(bundle.segmenter, clip.frames, 64, cpu, "bf16")))
        last = max(len(masks) - bundle.regressor.spec.span, 0)
        starts = sorted({int(start) for start in np.linspace(0, last, 4)})
        ef = ef_of_clips(bundle.regressor, clip.frames, masks, starts, cpu)
        discs = ef_by_discs(masks > THRESHOLD, clip.fps)
        numbers = f"{clip.ef:.3f},{ef.mean():.3f},{len(ef)},{ef.std():.3f},{discs.ef:.3f},{clip.fps}"
        with path.open("a") as file:
            file.write(f"{index},{numbers},{len(masks)},{len(discs.beats)}\n")


def plain(selection: pd.DataFrame, calibration: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """One width for all."""
    return intervals(_known(calibration, "ef_pred"), test["ef_pred"].to_numpy(), np.ones(len(test)), "plain", 1.0)


def predicted_band(selection: pd.DataFrame, calibration: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """A width for each band of the predicted EF."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crepes import ConformalRegressor

        warnings.simplefilter("ignore")  # crepes sets its own filter, and warns of bands with few videos
        residuals = (calibration["ef_true"] - calibration["ef_pred"]).to_numpy()
        fitted = ConformalRegressor().fit(residuals, bins=bands(calibration["ef_pred"]))
        answers = test["ef_pred"].to_numpy()
        return fitted.predict_int(answers, bins=bands(answers), confidence=LEVEL - TINY, y_min=0, y_max=100)


def true_band(selection: pd.DataFrame, calibration: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """What the package gives: bands of the true EF, the difficulty fitted where it tells."""
    hard = fit_difficulty(selection)
    known = Known(
        calibration["ef_true"].to_numpy(), calibration["ef_pred"].to_numpy(), hard.of(*(calibration[s] for s in SIGNS))
    )
    return intervals(known, test["ef_pred"].to_numpy(), hard.of(*(test[s] for s in SIGNS)), "conformal", 1.0)


def discs(selection: pd.DataFrame, calibration: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """The same for the EF by discs."""
    return intervals(_known(calibration, "ef_discs"), test["ef_discs"].to_numpy(), np.ones(len(test)), "conformal", 1.0)


def _known(videos: pd.DataFrame, column: str) -> Known:
    return Known(videos["ef_true"].to_numpy(), videos[column].to_numpy(), np.ones(len(videos)))


METHODS: dict[str, Method] = {
    "plain": plain,
    "predicted band": predicted_band,
    "true band": true_band,
    "true band, discs": discs,
}


def divided(videos: pd.DataFrame, sizes: tuple[int, int], divisions: int, names: list[str]) -> str:
    """Markdown: coverage (mean and standard deviation over random divisions of the videos) and mean width of each
    method, by band of the true EF."""
    random = np.random.default_rng(0)
    found: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in names}
    for _ in range(divisions):
        order = random.permutation(len(videos))
        parts = [videos.iloc[part] for part in np.split(order, np.cumsum(sizes))]
        for name in names:
            held = coverage(parts[2]["ef_true"].to_numpy(), METHODS[name](*parts))
            found[name].append([(100 * held[band]["coverage"], held[band]["width"]) for band in BANDS])
    lines = ["| method | " + " | ".join(f"{band}: held, %; width" for band in BANDS) + " |"]
    lines.append("|" + "---|" * (1 + len(BANDS)))
    for name, values in found.items():
        mean, spread = np.nanmean(values, 0), np.nanstd(values, 0)
        cells = [f"{m[0]:.1f} ± {s[0]:.1f}; {m[1]:.1f}" for m, s in zip(mean, spread, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stored(path: Path) -> dict[str, pd.DataFrame]:
    """The test videos of each row of an experiment: the first seed's answers, spread over its single clips."""
    table = pd.read_csv(path)
    table = table[table["split"] == "test"]
    found = {}
    for (row, column), part in table.groupby(["row", "column"], sort=False):
        first = part[part["seed"] == part["seed"].min()]
        videos = first[first["protocol"] == "strided"].set_index("video")[["ef_true", "ef_pred"]]
        single = first[first["protocol"].str.startswith("one-clip")].groupby("video")["ef_pred"].std(ddof=0)
        spread = single.reindex(videos.index)
        found[f"{row}, {column}"] = videos.assign(spread=spread, disagreement=np.nan, unlikeness=np.nan)
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("draw", "phantom", "stored"))
    parser.add_argument("table", type=Path)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--divisions", type=int, default=200)
    given = parser.parse_args()
    if given.command == "draw":
        draw(given.table, given.videos)
    elif given.command == "phantom":
        videos = pd.read_csv(given.table).dropna()
        videos = videos.assign(disagreement=videos["ef_pred"] - videos["ef_discs"], unlikeness=np.nan)
        fifth = len(videos) // 5
        print(f"{len(videos)} videos: {fifth} choose, {2 * fifth} calibrate, the others are tested.\n")
        print(divided(videos, (fifth, 2 * fifth), given.divisions, list(METHODS)))
    else:
        for name, videos in stored(given.table).items():
            tenth = len(videos) // 10
            print(f"\n{name}: {len(videos)} videos, {tenth} choose, {7 * tenth} calibrate.\n")
            print(divided(videos, (tenth, 7 * tenth), given.divisions, list(METHODS)[:3]))


if __name__ == "__main__":
    main()
