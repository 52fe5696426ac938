"""A page as Markdown: the one way in which all pages of the project become Markdown."""

import re
from collections.abc import Iterable, Sequence

from echocycle.reporting.blocks import (
    Beware,
    Block,
    Cell,
    Code,
    Details,
    Emphasis,
    Facts,
    Figure,
    Items,
    Lead,
    Link,
    Missing,
    Page,
    Part,
    Side,
    Strong,
    Table,
    Text,
    Tiles,
    Words,
    parts_of,
)


def _plain(text: str) -> str:
    """Text in one line that cannot turn into markup."""
    text = re.sub(r"[ \t\r\n]+", " ", text)
    text = re.sub(r"([\\`*|])", r"\\\1", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside a word it is none
    return re.sub(r"\[(?=[^\]]*\][\[(:])", r"\\[", text)


def _part(part: Part) -> str:
    match part:
        case Code(text):
            return f"`{text}`"
        case Emphasis(text):
            return f"*{_plain(text)}*"
        case Strong(text):
            return f"**{_plain(text)}**"
        case Link(text, url):
            return f"[{_plain(text)}]({_address(url)})"
        case _:
            return _plain(part)


def _address(url: str) -> str:
    return f"<{url}>" if " " in url else url


def _words(words: Words) -> str:
    return "".join(map(_part, parts_of(words))).strip()


def _paragraph(words: Words) -> str:
    """Words as a paragraph, their line ends kept, which does not begin like a list or a heading."""
    text = "".join(
        "\n".join(map(_plain, part.split("\n"))) if isinstance(part, str) else _part(part) for part in parts_of(words)
    ).strip()
    return re.sub(r"^(?=[#>+-] |#{2,6} )", r"\\", text)


def _cell(cell: Cell) -> str:
    text = _plain(f"{cell.text} ({cell.small})" if cell.small else cell.text).strip()
    return f"[{text}]({_address(cell.link)})" if cell.link else text


def _table(table: Table) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    lines = [_words(table.caption), ""] if table.caption else []
    lines.append(line(_plain(column.removeprefix("<")) for column in table.columns))
    lines.append(line("---" if column.startswith("<") else "---:" for column in table.columns))
    return lines + [line(map(_cell, row)) for row in table.rows]


def _figure(figure: Figure) -> list[str]:
    if figure.file:
        return [f"![{_plain(figure.caption)}]({_address(figure.file)})", ""]
    return [f"*Figure, in the HTML page: {_plain(figure.caption)}*", ""]


def _block(block: Block, depth: int) -> list[str]:
    match block:
        case Table():
            return [*_table(block), ""]
        case Text(words) | Lead(words):
            return [_paragraph(words), ""]
        case Items(items):
            return [*(f"- {_words(item)}" for item in items), ""]
        case Facts(facts):
            return [*(f"- {_plain(label)}: {_words(value)}" for label, value in facts), ""]
        case Beware(title, items):
            return ["#" * depth + f" {_plain(title)}", "", *(f"- {_words(item)}" for item in items), ""]
        case Tiles(tiles):
            said = [f"- {_plain(tile.label)}: {_plain(tile.value)} ({_plain(tile.detail)})" for tile in tiles]
            return [*said, ""]
        case Missing(words):
            return [f"*Missing: {_words(words)}*", ""]
        case Figure():
            return _figure(block)
        case Side(figures):
            return [line for figure in figures for line in _figure(figure)]
        case Details(summary, blocks):
            return ["#" * depth + f" {_plain(summary)}", "", *_blocks(blocks, depth + 1)]


def _blocks(blocks: Sequence[Block], depth: int) -> list[str]:
    return [line for block in blocks for line in _block(block, depth)]


def write_markdown(page: Page) -> str:
    """The page as Markdown: the same words and tables as in HTML; figures are linked where a file of them lies."""
    lines = [f"# {_plain(page.title)}", ""]
    if page.kicker:
        lines += [_plain(page.kicker), ""]
    lines += _blocks(page.lead, 2)
    for section in page.sections:
        lines += [f"## {_plain(section.title)}", "", *_blocks(section.blocks, 3)]
    return "\n".join(lines).rstrip() + "\n"
