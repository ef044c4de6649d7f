"""Turn an Arduino sketch folder into C++ sources, as the Arduino IDE does.

The `.ino` files are joined, the main one first; every function gets a prototype in front of the
first function; `#line` directives keep the compiler's messages on the sketch's own lines.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinyreptile_lite.errors import KitError, file_errors, unknown_name

SOURCES = {".c", ".cpp"}
SKETCHBOOK = Path(__file__).resolve().parents[2] / "arduino"
HEADERS = {".h", ".hpp", ".inc"}
_KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "catch", "do", "else"}
_NOT_A_FUNCTION = re.compile(r"^(class|struct|union|enum|namespace|typedef|using)\b(?!.*\()")
_FUNCTION = re.compile(
    r"^(?P<head>[\w\s:*&<>,]*?[\s*&>])(?P<name>[A-Za-z_]\w*)\s*\((?P<args>.*)\)\s*(noexcept\s*)?$",
    re.DOTALL,
)


@dataclass(frozen=True)
class Library:
    """An Arduino library's folder, the folder of its headers, and its sources."""

    folder: Path
    include: Path
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Sketch:
    """A sketch, ready to be compiled."""

    name: str  # of the folder and of its main .ino file
    files: dict[str, bytes]  # sources and headers by their name; the .ino files too, for messages
    units: list[str]  # what has to be compiled; <name>.ino.cpp is the joined sketch
    libraries: list[Library]  # that it includes, and those that they include


def sketch_folder(name: str) -> Path:
    """Return the folder of one of the kit's own sketches, from wherever it is asked.

    Raises `KitError` if the kit has no such sketch.
    """
    there = _sketches_in(SKETCHBOOK)
    if name not in there:
        raise unknown_name("sketch", name, there)
    return there[name]


@file_errors("choose a sketch whose files you can read")
def read_sketch(folder: str | Path, libraries: str | Path | None = None) -> Sketch:
    """Read a sketch folder; the `.ino` file in it that has the folder's name stands for it too.

    `libraries` is a folder of Arduino libraries, by default the nearest one above the sketch that
    has this name, and the kit's own.

    Raises
    ------
    KitError
        If there is no such sketch, or a file of it cannot be read.
    """
    folder = Path(folder).resolve()
    if folder.suffix == ".ino":
        folder = folder.parent
    main = folder / f"{folder.name}.ino"
    if not folder.is_dir():
        raise KitError(f"there is no folder {folder}{_others(folder)}")
    if not main.is_file() and (below := _sketches_in(folder)):
        raise KitError(f"{folder} is a folder of sketches; name one of: {_listed(below)}")
    if not main.is_file():
        raise KitError(f"{folder} is not a sketch: there is no {main.name} in it")
    inos = [main, *sorted(p for p in folder.glob("*.ino") if p != main)]
    files = {p.name: p.read_bytes() for p in inos}
    inside = [*folder.glob("*"), *folder.glob("src/**/*")]
    for path in sorted(p for p in inside if p.suffix in SOURCES | HEADERS and p.is_file()):
        files[path.relative_to(folder).as_posix()] = path.read_bytes()
    units = [name for name in files if Path(name).suffix in SOURCES]
    joined = f"{folder.name}.ino.cpp"
    files[joined] = join([(p.name, _text(p)) for p in inos]).encode()
    places = [Path(libraries)] if libraries else _library_folders(folder)
    return Sketch(folder.name, files, [joined, *units], _find_libraries(files.values(), places))


def _sketches_in(folder: Path) -> dict[str, Path]:
    return {p.name: p for p in sorted(folder.glob("*/")) if (p / f"{p.name}.ino").is_file()}


def _others(folder: Path) -> str:
    """Say which sketches there are, the one that was probably meant or all of them."""
    there = _sketches_in(folder.parent) or _sketches_in(SKETCHBOOK)
    lower = {name.lower(): path for name, path in there.items()}
    close = difflib.get_close_matches(folder.name.lower(), lower, 1)
    if close:
        return f"; did you mean {lower[close[0]]}?"
    return f"; the sketches are: {_listed(there)}" if there else "; check its name"


def kit_sketches() -> str:
    """List the kit's own sketches, as one types them here."""
    return _listed(_sketches_in(SKETCHBOOK))


def _listed(sketches: dict[str, Path]) -> str:
    here = Path.cwd()
    return ", ".join(
        str(path.relative_to(here) if path.is_relative_to(here) else path)
        for path in sketches.values()
    )


def join(inos: list[tuple[str, str]]) -> str:
    """Join `.ino` files, given as (name, text), into one C++ source with prototypes."""
    text = "".join(f'#line 1 "{name}"\n{body}\n' for name, body in inos)
    functions = _functions(text)
    if not functions:
        return f"#include <Arduino.h>\n{text}"
    first = functions[0][0]
    lines = "".join(f"{_line(text, at)}\n{prototype}\n" for at, prototype in functions)
    rest = f"{_line(text, first)}\n{text[first:]}"
    return f"#include <Arduino.h>\n{text[:first]}\n{lines}{rest}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise KitError(f"{path} is not UTF-8 text; save it again with that encoding") from None


def _line(text: str, at: int) -> str:
    """Return the `#line` directive that names the place `at` in the joined text."""
    begin = text.rindex("#line 1 ", 0, at + 1)
    name = text[begin:].split('"', 2)[1]
    return f'#line {text.count(chr(10), begin, at)} "{name}"'


def _functions(text: str) -> list[tuple[int, str]]:
    """Return where each function's definition begins, and its prototype."""
    bare = _blank(text)
    found = []
    depth, start = 0, 0
    for match in re.finditer(r"[{};]", bare):
        sign, at = match[0], match.start()
        if sign == "{":
            if depth == 0 and (prototype := _prototype(bare[start:at], text[start:at])):
                found.append((at - len(bare[start:at].lstrip()), prototype))
            depth += 1
            continue
        depth = max(0, depth - (sign == "}"))
        if depth == 0:
            start = match.end()
    return found


def _prototype(bare: str, original: str) -> str | None:
    """Return the prototype of the function whose head this is, or None if it is none."""
    head = bare.strip()
    match = _FUNCTION.match(head)
    if not match or _NOT_A_FUNCTION.match(head) or match["name"] in _KEYWORDS | {"operator"}:
        return None
    if match["head"].rstrip().endswith("::") or "=" in match["head"]:
        return None
    text = " ".join(bare.split())
    if re.search(r'\bextern\s+"C"', original):
        text = text.replace("extern ", 'extern "C" ', 1)
    return re.sub(r"\s*=[^,()]*(\([^()]*\))?[^,()]*(?=[,)])", "", text) + ";"


def _blank(text: str) -> str:
    """Replace comments, literals and preprocessor lines by spaces, so that offsets stay."""
    pattern = (
        r"//(?:\\\n|[^\n])*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
        r"|^[ \t]*#(?:\\\n|[^\n])*"
    )
    flags = re.DOTALL | re.MULTILINE
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=flags)


def _library_folders(folder: Path) -> list[Path]:
    """Folders of libraries: the nearest above the sketch, then the kit's own."""
    above = [p / "libraries" for p in folder.parents if (p / "libraries").is_dir()]
    return [*above[:1], SKETCHBOOK / "libraries"]


def _find_libraries(sources: Iterable[bytes], places: list[Path]) -> list[Library]:
    """Return the libraries whose headers are included, directly or by other libraries."""
    found: list[Library] = []
    todo = list(sources)
    while todo:
        for header in re.findall(rb'^\s*#\s*include\s*[<"]([^>"]+)[>"]', todo.pop(), re.MULTILINE):
            library = _library_with(header.decode("utf-8", "replace"), places)
            if library and library not in found:
                found.append(library)
                inside = (*headers_in(library.include), *library.sources)
                todo += [path.read_bytes() for path in inside]
    return found


def _library_with(header: str, places: list[Path]) -> Library | None:
    for folder in (f for place in places if place.is_dir() for f in sorted(place.iterdir())):
        modern = (folder / "src").is_dir()
        include = folder / "src" if modern else folder
        if (include / header).is_file():
            inside = include.glob("**/*") if modern else include.glob("*")
            return Library(folder, include, tuple(sorted(p for p in inside if p.suffix in SOURCES)))
    return None


def headers_in(folder: Path) -> list[Path]:
    """Return all header files below a folder, sorted."""
    return sorted(p for p in folder.glob("**/*") if p.suffix in HEADERS and p.is_file())
