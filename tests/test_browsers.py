"""Where the browser of the tests comes from. (`test_browser.py` drives it.)"""

import browsers
import pytest


def test_a_browser_named_by_the_user_comes_first(tmp_path):
    mine, env = tmp_path / "mine", {"PATH": str(tmp_path)}
    for name in ("mine", "google-chrome"):
        (tmp_path / name).touch(mode=0o755)
    assert browsers.places(env)[0] == str(tmp_path / "google-chrome")
    assert browsers.places(env | {"TINYREPTILE_BROWSER": str(mine)})[0] == str(mine)
    own = str(tmp_path / "own")
    found = browsers.candidates(own, lambda: browsers.places(env))
    assert own not in found and str(tmp_path / "google-chrome") in found


@pytest.mark.parametrize("there", ["", "broken"])
def test_without_a_browser_that_starts_one_sentence_says_how_to_get_one(
    there, tmp_path, monkeypatch
):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    places = [str(tmp_path / there)] if there else []
    monkeypatch.setattr(browsers, "candidates", lambda own: places)
    with pytest.raises(browsers.NoBrowser) as caught, browsers.browser():
        pass
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "playwright install chromium" in sentence and there in sentence
