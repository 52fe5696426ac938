"""Draw which room of the package imports which, from the code: `python scripts/imports.py docs/images/imports.svg`.

Rooms are the packages and single files below `echocycle`. Imports inside functions count; those for types alone do not.
A room stands above all that it imports; rooms of a circle are drawn in red. What is drawn is also printed: circles, the
files that import most of the package, and the largest files.
"""

import argparse
import sys
from pathlib import Path

import grimp
import matplotlib
import networkx as nx
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

QUIET = ("errors", "console", "files", "settings", "device", "workers", "prediction")
"""Rooms at the bottom that nearly everybody imports: their arrows would hide the others."""


def read_graph(root: Path) -> nx.DiGraph:
    """Every module of the package below `root` and what it imports."""
    sys.path.insert(0, str(root))
    graph = grimp.build_graph("echocycle", exclude_type_checking_imports=True, cache_dir=None)
    modules = nx.DiGraph()
    modules.add_nodes_from(graph.modules)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if imported != module:
                modules.add_edge(module, imported)
    return modules


def room_of(module: str) -> str:
    """The part of a module's name right below the package; the package itself holds nothing but its version."""
    return module.split(".")[1] if "." in module else ""


def rooms_of(modules: nx.DiGraph) -> nx.DiGraph:
    """Rooms and how many imports lead from one to another."""
    rooms = nx.DiGraph()
    rooms.add_nodes_from({room_of(module) for module in modules} - {""})
    for one, other in modules.edges:
        pair = room_of(one), room_of(other)
        if "" not in pair and pair[0] != pair[1]:
            count = rooms.get_edge_data(*pair, {"count": 0})["count"]
            rooms.add_edge(*pair, count=count + 1)
    return rooms


def circles(graph: nx.DiGraph) -> list[list[str]]:
    """Groups of nodes that all import each other, through others or directly."""
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def levels(rooms: nx.DiGraph) -> dict[str, int]:
    """How high each room stands: 0 imports no other; a circle stands on one level."""
    condensed = nx.condensation(rooms)
    height: dict[int, int] = {}
    for group in reversed(list(nx.topological_sort(condensed))):
        height[group] = 1 + max((height[below] for below in condensed.successors(group)), default=-1)
    return {room: height[group] for group, data in condensed.nodes(data=True) for room in data["members"]}


def draw(rooms: nx.DiGraph, path: Path) -> None:
    """Write the picture."""
    height = levels(rooms)
    in_circle = {room for group in circles(rooms) for room in group}
    rows: dict[int, list[str]] = {}
    for room in sorted(rooms, key=lambda room: (height[room], room)):
        rows.setdefault(height[room], []).append(room)
    place = {
        room: ((index + 1) / (len(row) + 1), level) for level, row in rows.items() for index, room in enumerate(row)
    }
    with matplotlib.rc_context({"svg.hashsalt": "echocycle", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 0.62 * len(rows) + 0.6), layout="constrained")
        axes = figure.subplots()
        axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
        axes.axis("off")
        for one, other in rooms.edges:
            red = one in in_circle and other in in_circle
            if other in QUIET and not red:
                continue
            arrow = FancyArrowPatch(
                place[one],
                place[other],
                arrowstyle="-|>",
                mutation_scale=8,
                shrinkA=11,
                shrinkB=11,
                connectionstyle="arc3,rad=0.06",
                color="#c0392b" if red else "#8a97a6",
                linewidth=1.4 if red else 0.7,
            )
            axes.add_patch(arrow)
        for room, (x, y) in place.items():
            colour = "#c0392b" if room in in_circle else "#1f4e79"
            box = FancyBboxPatch(
                (x - 0.048, y - 0.2), 0.096, 0.4, boxstyle="round,pad=0.006", facecolor="white", edgecolor=colour
            )
            axes.add_patch(box)
            axes.text(x, y, room, ha="center", va="center", fontsize=9, color=colour)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor="white", metadata={"Date": None})


def main(arguments: list[str] | None = None) -> int:
    """Draw and print; exit code 1 where modules import each other in a circle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="the SVG or PNG to write")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="folder of the package")
    asked = parser.parse_args(arguments)
    modules = read_graph(asked.root)
    rooms = rooms_of(modules)
    draw(rooms, asked.picture)
    found = circles(modules)
    print(f"{len(modules)} modules in {len(rooms)} rooms, {modules.number_of_edges()} imports, {len(found)} circles")
    for group in found:
        print("circle:", ", ".join(group))
    for group in circles(rooms):
        print("rooms that import each other:", ", ".join(group))
    most = sorted(modules, key=lambda module: (-modules.out_degree(module), module))[:5]
    print("own imports:", ", ".join(f"{module} {modules.out_degree(module)}" for module in most))
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in asked.root.glob("echocycle/**/*.py")}
    largest = sorted(lines, key=lambda path: -lines[path])[:5]
    print("largest files:", ", ".join(f"{path.relative_to(asked.root)} {lines[path]}" for path in largest))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
