#!/bin/sh
# A whole chain in one call, for a GPU that is there for minutes: draws a phantom, trains the rows of Tables I and IV
# and our own with full-size networks, as many seeds as fit, and leaves tables, predictions, curves and JSON in OUT.
#
#   scripts/gpu.sh --minutes N OUT [--smoke] [--steps N] [--videos N] [--fraction 1/8] [--work DIR]
#                  [--seeds N] [--first-seed N] [--experiments NAME...] [--only ROW...] [--pack]
#
# Several calls can share the seeds or the rows; `python -m echocycle.experiments merge OUT FOLDER...` joins their tables.
# Needs no network and no installation: Python 3.11 or newer with PyTorch, torchvision, Lightning, NumPy, pandas, SciPy,
# OpenCV, matplotlib and rich. PYTHON names another interpreter than python3.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
case "${1:-}" in
    '' | -h | --help)
        sed -n '2,11s/^# \{0,1\}//p' "$0"
        [ -n "${1:-}" ] && exit 0 || exit 2
        ;;
esac
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PYTHON:-python3}" -m echocycle.experiments --standins "$root/scripts/standins" chain "$@"
