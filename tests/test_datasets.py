"""Data sets from elsewhere: fetched or given, checked, prepared once; nothing is trusted."""

import hashlib
import http.server
import json
import shutil
import sys
import tarfile
import tempfile
import threading
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sets import (
    character_files,
    clip_files,
    picture,
    recording,
    write_folder,
    write_tar,
    write_zip,
)

from tinyreptile_lite import archives
from tinyreptile_lite.archives import hash_of_source, read_files
from tinyreptile_lite.cli import main
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.tasks import DATA_SETS, keywords
from tinyreptile_lite.tasks.keywords import read_clips
from tinyreptile_lite.tasks.omniglot import FULL, SMALL, Omniglot, read_characters

SPEECH = keywords.DATA.archives[0]
SMALL1, SMALL2 = SMALL.archives
REMEDY = "give another one"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder, and a cache of its own."""
    monkeypatch.setenv("TINYREPTILE_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# Reading


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "xz", "folder"])
def test_archives_of_any_kind_and_folders_give_the_same_arrays(kind, tmp_path):
    files = character_files(SMALL1.root)
    if kind == "zip":
        source = write_zip(tmp_path / "a", {**files, "__MACOSX/x.png": b"", ".hidden.png": b""})
    elif kind == "folder":
        source = write_folder(tmp_path, files) / SMALL1.root
    else:
        source = write_tar(tmp_path / "a", files, kind.removeprefix("tar"))
    arrays = read_characters(SMALL1, source, REMEDY)
    assert arrays["images"].shape == (14, 20, 28, 28)
    assert sorted(set(arrays["alphabet"])) == ["Early_Aramaic", "Greek", "Latin"]
    digest = hashlib.sha256(arrays["images"].tobytes()).hexdigest()
    assert digest == _digest_of_small1()
    assert len(hash_of_source(source, REMEDY)) == 64


@cache
def _digest_of_small1() -> str:
    with tempfile.TemporaryDirectory() as folder:
        source = write_zip(Path(folder) / "a", character_files(SMALL1.root))
        images = read_characters(SMALL1, source, REMEDY)["images"]
    return hashlib.sha256(images.tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "C:/a.png", "..\\a.png"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_path_outside_of_the_archive_is_refused(write, name, tmp_path, refuses):
    with refuses("outside of it", REMEDY):
        list(read_files(write(tmp_path / "a", {"fine.txt": b"", name: b""}), ".png", REMEDY))
    assert files_in(tmp_path) == ["a"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_what_is_larger_than_it_should_be_is_refused(write, tmp_path, refuses, monkeypatch):
    bomb = write(tmp_path / "a", {"a.png": bytes(archives.BIGGEST + 1)})
    with refuses("larger than it should be", "a.png", REMEDY):
        list(read_files(bomb, ".png", REMEDY))
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    many = write(tmp_path / "b", {f"{i}.txt": b"" for i in range(4)})
    with refuses("larger than it should be", "3.txt"):
        list(read_files(many, ".png", REMEDY))


def test_links_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret.png"
        archive.addfile(link)
    assert list(read_files(tmp_path / "a", ".png", REMEDY)) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\5\6", b"\x1f\x8b\x08", b"\xfd7zXZ\0"])
def test_what_is_no_archive_is_refused(content, tmp_path, refuses):
    (tmp_path / "a").write_bytes(content)
    with refuses(tmp_path / "a", "damaged or no archive", REMEDY):
        list(read_files(tmp_path / "a", ".png", REMEDY))
    with refuses(tmp_path / "none", REMEDY):
        list(read_files(tmp_path / "none", ".png", REMEDY))


@cache
def _whole(kind: str) -> bytes:
    few = dict(list(character_files(SMALL1.root).items())[:20])
    with tempfile.TemporaryDirectory() as folder:
        write = write_zip if kind == "zip" else partial(write_tar, kind=kind)
        return write(Path(folder) / "a", few).read_bytes()


@given(st.sampled_from(["zip", "gz", "xz", ""]), st.data())
def test_damage_is_one_sentence_or_does_not_matter(kind, data):
    content = bytearray(_whole(kind))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.sampled_from([len(content), len(content) // 2, 30])) :]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_bytes(content)
        try:
            arrays = read_characters(SMALL1, Path(folder) / "a", REMEDY)
        except KitError as error:
            assert "\n" not in str(error) and str(error).endswith(REMEDY)
        else:
            assert arrays["images"].shape == (1, 20, 28, 28)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"other/x.png": b""}, ["'other/x.png'", "images_background_small1.zip does not"]),
        ({"images_background/Greek/character01/0001_01.png": b""}, ["does not"]),
        ({"{root}/Greek/character01/0101_01.png": b"no picture"}, ["0101_01.png", "105x105"]),
        ({"{root}/Greek/character01/0101_01.png": picture("x", 1, 1, 104)}, ["105x105 points"]),
        ({"{root}/Greek/character09/0109_01.png": picture("x", 1, 1)}, ["09 of Greek", "20"]),
        ({"{root}/Greek/character01/0101_21.png": picture("x", 1, 1)}, ["01 of Greek"]),
    ],
)
def test_other_pictures_and_trees_are_refused(changes, words, tmp_path, refuses):
    new = {name.format(root=SMALL1.root): content for name, content in changes.items()}
    source = write_zip(tmp_path / "a", {**character_files(SMALL1.root), **new})
    with refuses(source, REMEDY, *words):
        read_characters(SMALL1, source, REMEDY)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"bed/00000000_nohash_0.wav": recording(300)}, ["bed/", "which"]),
        ({"up/00000000_nohash_0.wav": recording(300, 16_001)}, ["up/0", "up to a second"]),
        ({"up/00000000_nohash_0.wav": recording(300, rate=8_000)}, ["16 kHz, mono"]),
        ({"up/00000000_nohash_0.wav": recording(300)}, ["nobody", "6 words 4 times"]),
        ({"README.md": b"hello"}, ["no file of speech_commands"]),
    ],
)
def test_other_recordings_and_too_few_are_refused(files, words, tmp_path, refuses):
    source = write_tar(tmp_path / "a", files)
    with refuses(source, REMEDY, *words):
        read_clips(SPEECH, source, REMEDY)


# Finding and preparing


def test_without_data_the_command_its_size_and_what_runs_without_are_named(home, refuses, rng):
    remedies = {"omniglot-small": "(3 MB)", "omniglot": "(16 MB)", "keywords": "(113 MB)"}
    for name, size in remedies.items():
        data = DATA_SETS[name]
        with refuses(data.archives[0].name, home, f"tinyreptile data {name} {size}", "00 to 05"):
            data.load()
    write_zip(home / "omniglot" / FULL.archives[0].name, character_files(FULL.archives[0].root))
    with refuses("images_evaluation.zip is in none"):
        Omniglot().split(0, rng)
    assert len(files_in(home)) == 1


def test_another_data_folder_is_read_although_one_was_read_before(
    data, tmp_path, monkeypatch, refuses, rng
):
    monkeypatch.setenv("TINYREPTILE_DATA", str(data))
    Omniglot(small=True, train_devices=1).split(0, rng)
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("TINYREPTILE_DATA", str(tmp_path / "other"))
    with refuses("images_background_small1.zip is in none"):
        Omniglot(small=True, train_devices=1).split(0, rng)


def test_arrays_are_prepared_once_and_again_for_other_data(data, home, monkeypatch):
    shutil.copytree(data / "omniglot", home / "omniglot")
    first = SMALL.load()
    monkeypatch.setattr("tinyreptile_lite.tasks.omniglot._shrunk", None)
    again = SMALL.load()
    assert np.array_equal(first[1]["images"], again[1]["images"])
    source = write_folder(home / "omniglot", character_files(SMALL1.root)) / SMALL1.root
    (home / "omniglot" / SMALL1.name).unlink()
    assert SMALL.find(SMALL1) == source
    with pytest.raises(TypeError):  # other bytes, so they are read anew
        SMALL.load()


def test_a_damaged_file_in_the_data_folder_is_named_with_the_remedy(home, refuses):
    for archive in SMALL.archives:
        (home / "omniglot").mkdir(exist_ok=True)
        (home / "omniglot" / archive.name).write_bytes(b"half of it")
    with refuses(SMALL1.name, "damaged", "delete it", "tinyreptile data omniglot-small"):
        SMALL.load()
    assert not [name for name in files_in(home.parent / "cache") if name.endswith(".npz")]


# Downloading: a server on this computer plays the publishers'


@pytest.fixture
def served(data, home):
    """The small sets of characters, with addresses and hashes of a server on this computer."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(data / "omniglot"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        changed = [
            replace(
                archive,
                url=address + archive.name,
                sha256=hashlib.sha256((data / "omniglot" / archive.name).read_bytes()).hexdigest(),
            )
            for archive in SMALL.archives
        ]
        yield replace(SMALL, archives=tuple(changed))
        server.shutdown()


def test_what_is_missing_is_fetched_and_nothing_twice(served, home):
    (home / "omniglot").mkdir()
    (home / "omniglot" / SMALL2.name).write_bytes(b"mine")
    served.fetch()
    assert files_in(home) == [f"omniglot/{SMALL1.name}", f"omniglot/{SMALL2.name}"]
    assert (home / "omniglot" / SMALL2.name).read_bytes() == b"mine"
    content = (home / "omniglot" / SMALL1.name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == served.archives[0].sha256


def test_what_is_not_the_expected_file_leaves_nothing(served, home, refuses):
    one, two = served.archives
    wrong = replace(served, archives=(replace(one, sha256="0" * 64), two))
    with refuses("another SHA-256", one.url, "try again", "data omniglot-small --from FILE"):
        wrong.fetch()
    missing = replace(served, archives=(replace(one, url=one.url + "x"), two))
    with refuses("cannot download", "HTTPError", "--from FILE"):
        missing.fetch()
    assert files_in(home) == []


def test_without_a_network_nothing_is_written(served, home, refuses):
    one, two = served.archives
    nowhere = replace(served, archives=(replace(one, url="http://127.0.0.1:9/x"), two))
    with refuses("cannot download http://127.0.0.1:9/x", "ConnectionError", "try again"):
        nowhere.fetch()
    assert files_in(home) == []


def test_without_pooch_its_install_line_is_named(home, refuses, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with refuses("pip install pooch"):
        SMALL.fetch()
    for archive in SMALL.archives:
        write_zip(home / "omniglot" / archive.name, {})
    SMALL.fetch()  # nothing to do


# Giving one's own copy


def test_an_own_archive_or_folder_is_copied_to_where_it_is_found(home, tmp_path):
    archive = write_zip(tmp_path / "mine.zip", character_files(SMALL1.root))
    assert SMALL.take(archive) == SMALL.find(SMALL1) == home / "omniglot" / SMALL1.name
    folder = write_folder(tmp_path, character_files(SMALL2.root)) / SMALL2.root
    assert SMALL.take(folder) == SMALL.find(SMALL2) == home / "omniglot" / SMALL2.name
    assert [len(arrays["images"]) for arrays in SMALL.load()] == [14, 10]
    speech = write_tar(tmp_path / "speech_commands_test_set_v0.02_mine.tar.xz", clip_files(), "xz")
    assert keywords.DATA.take(speech) == home / "speech_commands" / speech.name
    (arrays,) = keywords.DATA.load()
    assert arrays["samples"].shape == (8 * 7 * 4, 16_000)


def test_a_folder_of_clips_is_taken_as_well(home, tmp_path):
    folder = write_folder(tmp_path / "clips", clip_files())
    taken = keywords.DATA.take(folder)
    assert taken == keywords.DATA.find(SPEECH)
    assert taken.name == "speech_commands_test_set_v0.02.zip"


def test_an_own_archive_that_is_none_of_them_is_refused_and_not_copied(home, tmp_path, refuses):
    broken = {**character_files(SMALL1.root), f"{SMALL1.root}/Greek/character01/0101_01.png": b"x"}
    for files in (broken, clip_files(), {}):
        with refuses("give images_background_small1.zip or images_background_small2.zip"):
            SMALL.take(write_zip(tmp_path / "mine.zip", files))
    assert files_in(home) == []


def test_the_command_shows_takes_and_prepares(home, tmp_path, capsys):
    assert main(["data"]) == 0
    assert "omniglot-small, 2.9 MB, for omniglot-small" in capsys.readouterr().out
    for archive in SMALL.archives:
        own = write_zip(tmp_path / "own.zip", character_files(archive.root))
        assert main(["data", "omniglot-small", "--from", str(own), "--json"]) == 0
    (result,) = [json.loads(capsys.readouterr().out.split("\n}\n")[1] + "\n}")]
    assert result["characters"] == 24 and result["files"][SMALL1.name].startswith(str(home))
    assert main(["data", "omniglot-small"]) == 0  # nothing is missing, so nothing is fetched
    assert "24 characters" in capsys.readouterr().out
    for slip, word in (
        (["omni"], "choose one of: keywords, omniglot, omniglot-small"),
        (["omniglot", "--from", str(tmp_path / "none")], "none"),
    ):
        assert main(["data", *slip]) == 2
        assert word in capsys.readouterr().err


# The real sets, where they are


def _needs(name: str) -> pytest.MarkDecorator:
    data = DATA_SETS[name]
    lacks = any(data.find(archive) is None for archive in data.archives)
    return pytest.mark.skipif(lacks, reason=data.command)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        pytest.param("omniglot-small", [136, 156], marks=_needs("omniglot-small")),
        pytest.param("omniglot", [964, 659], marks=_needs("omniglot")),
        pytest.param("keywords", [2_419], marks=_needs("keywords")),
    ],
)
def test_the_real_sets_have_what_their_publishers_say(name, counts):
    arrays = DATA_SETS[name].load()
    assert [len(next(iter(part.values()))) for part in arrays] == counts
    if name == "keywords":
        assert len(set(arrays[0]["speaker"])) == 52
