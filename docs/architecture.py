"""Draw the imports between folders, and list their modules, in architecture.md.

    .venv/bin/python docs/architecture.py            # after a change of imports or of a module's first sentence
    .venv/bin/python docs/architecture.py --check    # exit code 1 if the page is not today's; make lint runs it
"""

import argparse
import ast
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("base", "data_toolkit", "layers", "prototxt", "solvers")
ROOMS = tuple(f"solvers.{name}" for name in ("nets", "runs", "reporting", "evaluation", "training", "sweep", "export"))
COMMANDS = "solvers"  # the folder whose own modules are the commands


def room_of(module: str) -> str:
    """The folder in which a module lies."""
    return next((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), module.partition(".")[0])


def file_of(module: str) -> Path:
    """The file of a module, or the __init__.py of a package."""
    folder = ROOT / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def modules_of(graph: grimp.ImportGraph) -> dict[str, list[str]]:
    """The modules of each folder; folders and modules in alphabetical order."""
    rooms = {}
    for module in sorted(graph.modules):
        if file_of(module).is_file():
            rooms.setdefault(room_of(module), []).append(module)
    return rooms


def figure(graph: grimp.ImportGraph) -> list[str]:
    """The folders, and an arrow from each to those that it imports, unless other arrows already lead there.

    Imports of solvers/__init__.py are left out: all of solvers has it.
    """
    arrows = {}
    for module in sorted(graph.modules - {"solvers"}):
        for imported in graph.find_modules_directly_imported_by(module) - {"solvers"}:
            if room_of(imported) != room_of(module):
                arrows.setdefault(room_of(module), set()).add(room_of(imported))

    def reached(room: str) -> set[str]:
        return {far for near in arrows.get(room, ()) for far in (near, *reached(near))}

    rooms = list(modules_of(graph))
    number = {room: f"room{rooms.index(room)}" for room in rooms}
    label = {COMMANDS: "solvers: train, evaluate, compare, ..."}
    nodes = [f'    {number[room]}["{label.get(room, room)}"]' for room in rooms]
    links = [f"    {number[room]} --> {number[other]}" for room in rooms for other in sorted(arrows.get(room, ()))
             if not any(other in reached(between) for between in arrows[room])]
    return ["```mermaid", "flowchart TD", *nodes, *links, "```"]


def listing(graph: grimp.ImportGraph) -> list[str]:
    """For each folder its purpose, and the first sentence of each of its modules."""
    lines = []
    for room, modules in modules_of(graph).items():
        folder = room.replace(".", "/")
        lines += [f"### [{folder}](../{folder})", "", first_sentence(file_of(room)), "", "| module | |", "|---|---|"]
        for file in map(file_of, modules):
            if file.name != "__init__.py":
                lines.append(f"| [{file.stem}](../{file.relative_to(ROOT)}) | {first_sentence(file)} |")
        lines.append("")
    return lines


def first_sentence(file: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0].replace("|", r"\|")


def page() -> str:
    """The page with its two generated parts renewed."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph(*PACKAGES)
    text = PAGE.read_text()
    for name, lines in ("figure", figure(graph)), ("modules", listing(graph)):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n".join([*lines, ""]) + end + rest.partition(end)[2]
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not today's")
    args = parser.parse_args()
    new = page()
    if not args.check:
        PAGE.write_text(new)
    elif new != PAGE.read_text():
        print(f"error: docs/{PAGE.name} does not show today's modules and imports: run docs/architecture.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
