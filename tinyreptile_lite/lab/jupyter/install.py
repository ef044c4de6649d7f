"""Put the extension for JupyterLab and the setting for nbconvert where Jupyter looks for them."""

import shutil
from pathlib import Path

from tinyreptile_lite.errors import KitError, file_errors

HERE = Path(__file__).parent
EXTENSION = Path("share/jupyter/labextensions/tinyreptile-alt")
SETTING = Path("etc/jupyter/jupyter_nbconvert_config.py")
_SETTING_TEXT = """\
# Written by: python -m tinyreptile_lite.lab.jupyter
from importlib.util import find_spec

if find_spec("tinyreptile_lite"):  # else it was taken away, and this file means nothing
    c.HTMLExporter.preprocessors.append("tinyreptile_lite.lab.jupyter.pages.DescribePictures")
"""


def install(prefix: Path) -> None:
    """Copy both below the folder of an environment; what is there already is brought up to date.

    Raises `KitError` if the folder cannot be written to, or has a setting of somebody else's.
    """
    setting = prefix / SETTING
    remedy = "make an environment of your own: make lab"
    with file_errors(remedy):
        shutil.copytree(HERE / "labextension", prefix / EXTENSION, dirs_exist_ok=True)
        setting.parent.mkdir(parents=True, exist_ok=True)
        first = _SETTING_TEXT.splitlines()[0]
        if setting.exists() and not setting.read_text().startswith(first):
            raise KitError(f"{setting} has settings of somebody else's; {remedy}")
        setting.write_text(_SETTING_TEXT)
