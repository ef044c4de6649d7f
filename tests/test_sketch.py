"""Sketch folders become C++ sources, as the Arduino IDE makes them."""

import pytest

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.sketch import join, read_sketch


def prototypes(text):
    """Prototypes that `join` adds for a sketch of one file."""
    before = join([("A.ino", text)])[: join([("A.ino", text)]).rindex("#line")]
    return [line for line in before.splitlines() if line.endswith(");")]


def test_functions_get_prototypes_before_the_first_one():
    text = "int a = 3;\nvoid setup() {\n  go(1);\n}\nint go(int n, float x = 2) {\n  return n;\n}\n"
    joined = join([("A.ino", text)])
    assert prototypes(text) == ["void setup();", "int go(int n, float x);"]
    assert joined.index("int a = 3") < joined.index("int go(int n, float x);")
    assert joined.endswith('#line 2 "A.ino"\n' + text[text.index("void setup") :] + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "struct P {\n  int x;\n  int get() { return x; }\n};\n",
        "// void no() {\n/* int never() { } */\n",
        "const char *t = \"void f() {\";\nchar c = '{';\n",
        "#define F(x) void f() { \\\n  x }\n",
        "int P::get() { return 1; }\n",
        "int table[] = {1, 2, 3};\n",
        "namespace inner {\nint f() { return 1; }\n}\n",
        "enum class Kind { one, two };\n",
    ],
)
def test_what_is_no_function_gets_no_prototype(text):
    assert prototypes(text + "void setup() {}\n") == ["void setup();"]


def test_all_files_are_joined_with_their_own_lines(tmp_path):
    folder = tmp_path / "Two"
    folder.mkdir()
    (folder / "Two.ino").write_text("void setup() { other(); }\nvoid loop() {}\n")
    (folder / "Other.ino").write_text("\nvoid other() {}\n")
    (folder / "part.cpp").write_text("int part;\n")
    sketch = read_sketch(folder)
    joined = sketch.files["Two.ino.cpp"].decode()
    assert sketch.units == ["Two.ino.cpp", "part.cpp"]
    assert joined.index("setup() {") < joined.index("other() {}")
    assert '#line 2 "Other.ino"\nvoid other();' in joined
    assert read_sketch(folder / "Two.ino").name == "Two"


def test_a_folder_without_its_sketch_is_named(tmp_path):
    with pytest.raises(KitError, match="there is no folder"):
        read_sketch(tmp_path / "nowhere")
    with pytest.raises(KitError, match="is not a sketch"):
        read_sketch(tmp_path)


def test_libraries_are_found_above_the_sketch(tmp_path):
    book = tmp_path / "book"
    for path, text in {
        "libraries/One/src/One.h": "#include <Two.h>\n",
        "libraries/One/src/one.c": "int one;\n",
        "libraries/Two/Two.h": "",
        "libraries/Three/src/Three.h": "",
        "S/S.ino": "#include <One.h>\nvoid setup() {}\nvoid loop() {}\n",
    }.items():
        (book / path).parent.mkdir(parents=True, exist_ok=True)
        (book / path).write_text(text)
    found = {library.folder.name: library for library in read_sketch(book / "S").libraries}
    assert set(found) == {"One", "Two"}
    assert [p.name for p in found["One"].sources] == ["one.c"]
