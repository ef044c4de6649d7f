"""Pages that nbconvert makes of a notebook give every picture its alternative text."""

from html import escape
from typing import Any

from nbconvert.preprocessors import Preprocessor


class DescribePictures(Preprocessor):
    """Put the alternative text of a PNG, which `lab.alt.show` keeps, into the page.

    nbconvert's usual template leaves it out. The notebook file stays as it is.
    """

    def preprocess_cell(
        self, cell: Any, resources: dict[str, Any], index: int
    ) -> tuple[Any, dict[str, Any]]:
        """Write the ``<img>`` of each picture with words in place of nbconvert."""
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("image/png", {})
            picture = output.get("data", {}).get("image/png")
            words = about.get("alt") if isinstance(about, dict) else None
            if picture and isinstance(words, str):
                source = "data:image/png;base64," + "".join(picture.split())
                output.data["text/html"] = f'<img src="{escape(source)}" alt="{escape(words)}">'
        return cell, resources
