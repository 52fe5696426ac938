"""Makes docs/results/analyses.md: the sections of a report that are analyses, as Markdown with their figures beside it.

    python scripts/analyses_page.py docs/results/analyses.md CSS TEACHER STUDENT

The runs are evaluated and analysed before (the page says how).
"""

import sys
from dataclasses import replace
from pathlib import Path

from echocycle.files import write_text
from echocycle.reporting.blocks import Text, marked
from echocycle.reporting.collect import collect
from echocycle.reporting.files import write_files
from echocycle.reporting.markdown import write_markdown
from echocycle.reporting.sections import report_page

SECTIONS = {
    "Error by EF and image quality",
    "Low EF: under 40 and under 50",
    "Regular and irregular rhythm",
    "Another hospital",
    "Labels and cost",
    "Where the networks look",
    "Masks on frames that nobody traced",
    "Do the features go in circles?",
    "How alike frames are",
    "How phases are matched",
    "The data",
    "What the paper says, claim by claim",
}
WHERE_FROM = (
    "Research software, not a medical device.\n\nTrained on: a phantom of 240 videos (version 2), 40 of its 130 "
    "training videos labelled, networks of preset `tiny` on half-size frames, 150 steps, one seed. So little training "
    "shows what each analysis looks like; it decides nothing about the methods."
)
COMMANDS = r"""
```sh
echocycle phantom PH --videos 240 --val 30 --test 80 --frames-median 150 --frames-min 120 --frames-max 200 \
  --irregular-share 0.25 --seed 5
echocycle phantom PH2 --videos 62 --val 1 --test 60 --hospital second --seed 9
echocycle prepare PH STORE; echocycle prepare PH2 STORE2
SEG="--set segment.loop.steps=150 --set segment.labels.labelled=40 --set segment.labels.validation=20"
REG="--set regress.loop.steps=150 --set regress.labels.labelled=40 --set regress.labels.validation=20"
echocycle segment STORE seg-css --preset tiny $SEG
echocycle mask STORE seg-css --preset tiny
echocycle mask STORE2 seg-css --preset tiny
echocycle regress STORE teacher --preset tiny $REG --method teacher --masks seg-css
echocycle regress STORE student --preset tiny $REG --method student --masks seg-css --teacher teacher
echocycle evaluate teacher --preset tiny --splits test --stride 24
echocycle evaluate student --preset tiny --splits test --stride 24
echocycle evaluate seg-css --preset tiny --splits test
echocycle evaluate student --external STORE2 --half-beats symmetric --preset tiny --splits test --stride 24
echocycle analyse seg-css --videos 20
echocycle analyse student --what attention --videos 10 --samples 15
echocycle report seg-css teacher student
```
"""

out, runs = Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]]
page = report_page(replace(collect(runs, "The paper’s analyses on a small run"), resamples=2000))
chosen = [section for section in page.sections if section.title in SECTIONS]
page = replace(page, sections=chosen, lead=[Text(marked(WHERE_FROM))], kicker="")
folder = out.with_suffix(".files")
page = write_files(page, folder, seen_from=out.parent)
for file in folder.iterdir():  # the page links the SVG alone, and its tables stand in it
    if file.suffix in (".png", ".tex", ".csv"):
        file.unlink()
head, _, rest = write_markdown(page).partition("\n## ")
write_text(out, f"{head}\n{COMMANDS}\n## {rest}")
