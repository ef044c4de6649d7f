"""The project as a whole: what it installs, imports and says about itself."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinyreptile_lite"


def tracked() -> list[Path]:
    """All files that git knows, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = [Path(name) for name in listed.stdout.split("\0") if name]
    return [file for file in files if (ROOT / file).exists()]


def test_environment_file_equals_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    expected = {*project["dependencies"], *extras["lab"], *extras["data"], *extras["test"]}
    text = (ROOT / "environment.yml").read_text().split("dependencies:")[-1]
    entries = re.findall(r"^(?:  |      )- ([^:\n-][^:\n]*)$", text, flags=re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert set(entries) == expected | {"python" + project["requires-python"], "pip"}
    assert "--editable .[boards,flower]" in text


def loaded_by(module: str) -> set[str]:
    """Installed packages that importing the module loads."""
    script = f"""
import sys
before = set(sys.modules)
import {module}
for name in set(sys.modules) - before:
    if "site-packages" in (getattr(sys.modules[name], "__file__", None) or ""):
        print(name.split(".")[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("tinyreptile_lite", {"numpy"}),
        ("tinyreptile_lite.learners", {"numpy"}),
        ("tinyreptile_lite.evaluation", {"numpy"}),
        ("tinyreptile_lite.federation", {"numpy", "tqdm"}),
        ("tinyreptile_lite.cli", {"numpy", "tqdm"}),
    ],
)
def test_importing_loads_numpy_and_nothing_heavier(module, allowed):
    assert loaded_by(module) <= allowed


# The rooms of the house, lowest first. A room imports from those above it in this table; the rooms
# of one line know nothing of each other.
ROOMS = (
    ("errors", "lifetime", "layers", "image_layers", "losses", "network", "tasks", "datafiles"),
    ("learners", "few_shot", "strategies", "clients", "federation", "checkpoint"),
    ("evaluation", "watch", "costs", "energy", "settings", "recipes", "options"),
    ("cache", "archives", "datasets", "sound"),
    ("core", "radio", "drawing"),
    ("experiment",),
    ("pieces", "nano", "wire", "results", "tables"),
    ("search", "expense"),
    ("serve", "flower"),
    ("lab",),
    ("exercises",),
    ("marking",),
    ("bench",),
    ("figures",),
    ("cli",),
)
HEART = {name for line in ROOMS[:4] for name in line}
ALONE = {"tinyreptile"}  # the page


def imported(file: Path) -> set[str]:
    """Modules of the kit that a file imports, at the top or later."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(
                    whole
                    if (ROOT / whole.replace(".", "/")).with_suffix(".py").exists()
                    or (ROOT / whole.replace(".", "/")).is_dir()
                    else node.module
                )
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == PACKAGE.name}


def modules() -> dict[str, set[str]]:
    """Every module of the kit, and the modules that it imports."""
    graph = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        graph[name] = imported(file) - {name}
    del graph[PACKAGE.name]  # the notebooks' door, which nothing in the house goes through
    return graph


def test_rooms_import_one_way():
    level = {room: at for at, line in enumerate(ROOMS) for room in line}
    wrong = []
    for name, others in modules().items():
        room = name.split(".")[1]
        if room in ALONE:
            assert not others
            continue
        for other in others:
            target = other.split(".")[1] if "." in other else "the door"
            allowed = target in level and (room in HEART and target in HEART)
            if target != room and not allowed and not level.get(target, 99) < level[room]:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    """Not even by an import inside of a function."""
    graphlib.TopologicalSorter(modules()).prepare()  # names the circle if there is one


def test_the_map_in_the_readme_is_the_tree():
    text = (ROOT / "README.md").read_text()
    section = text.split("## Map")[1].split("\n\n")[1]
    drawn, folder = set(), ""
    for indent, name in re.findall(r"^    ( *)(\S+)", section, flags=re.MULTILINE):
        if not indent:
            folder = name
        drawn.add(folder + name if indent else name)
    top = {f"{file.parts[0]}/" for file in tracked() if len(file.parts) > 1}
    inside = {
        "tinyreptile_lite/" + file.parts[1] + ("/" if len(file.parts) > 2 else "")
        for file in tracked()
        if file.parts[0] == "tinyreptile_lite"
    }
    hidden = {name for name in top if name.startswith(".")}
    tree = (top - hidden) | inside - {"tinyreptile_lite/__init__.py"}
    assert not tree - drawn, f"the map lacks {sorted(tree - drawn)}"
    assert not drawn - tree, f"the map has {sorted(drawn - tree)}, which are not there"


def test_no_file_names_a_folder_of_one_machine():
    folders = "|".join(["work", "root", "tmp", "home", "Users"])
    pattern = re.compile(rf"(?<![\w.])/(?:{folders})/\w")
    found = []
    for file in tracked():
        content = (ROOT / file).read_bytes()
        if b"\0" not in content and pattern.search(content.decode(errors="replace")):
            found.append(str(file))
    assert found == []


def test_links_in_the_documents_lead_somewhere():
    broken = []
    for file in tracked():
        if file.suffix == ".md":
            targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / file).read_text())
            local = [target for target in targets if "://" not in target]
            broken += [(file, one) for one in local if not (ROOT / file.parent / one).exists()]
    assert not broken, f"broken links: {broken}"


def test_nothing_is_read_with_pickle_or_run_with_eval():
    """Only `data/build_wrist.py` reads pickles, and it does so without running them.

    What a student wrote is run, by the student's own process behind its walls.
    """
    runs_students = PACKAGE / "marking" / "student.py"
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "marshal", "shelve"}, file
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", None)
                assert called not in {"eval", "exec"} or file == runs_students, file
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert ast.literal_eval(keyword.value) is False, file


def test_every_module_says_what_it_is_for():
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree) or not tree.body, f"{file} has no docstring"


def test_no_module_has_random_numbers_of_its_own():
    """No global random state: generators are passed, or seeded by their owner."""
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        assert "from random import" not in text, file
        assert set(re.findall(r"\bnp\.random\.(\w+)", text)) <= {"Generator", "default_rng"}, file
        assert set(re.findall(r"(?<![\w.])random\.(\w+)\(", text)) <= {"Random"}, file
