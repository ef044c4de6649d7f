"""Show pictures together with what is on them in words, for those who cannot see them."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from tinyreptile_lite.errors import KitError


def show(*alt: str) -> None:
    """Show the open figures as ``plt.show()`` does, each with an alternative text.

    In a notebook the text is kept in the output's metadata, as ``{"image/png": {"alt": ...}}``.
    Elsewhere it is the figure's attribute ``alt``.

    Parameters
    ----------
    *alt : str
        What the picture shows and what is to be seen in it, in a sentence or two; one for each
        open figure, in the order in which they were made.

    Raises
    ------
    KitError
        If a text is missing or empty, or no figure is open.
    """
    figures = _not_shown()
    if not figures:
        raise KitError("there is no figure to show; draw one first")
    if len(alt) != len(figures):
        raise KitError(
            f"{len(figures)} open figures and {len(alt)} alternative texts; "
            "give one text for each, and show each figure before you draw the next one"
        )
    for text in alt:
        if not isinstance(text, str) or not text.strip():
            raise KitError(f"the alternative text is {text!r}; say what the picture shows")
    for figure, text in zip(figures, alt, strict=True):
        figure.alt = " ".join(text.split())  # type: ignore[attr-defined]
    if "inline" in plt.get_backend():
        _display(figures)
    elif figures[0].canvas.required_interactive_framework:  # type: ignore[attr-defined]
        plt.show()


def _not_shown() -> list[Figure]:
    """The open figures that have no words yet: outside of notebooks they stay open for ever."""
    figures = [plt.figure(number) for number in plt.get_fignums()]
    return [figure for figure in figures if not hasattr(figure, "alt")] or figures


def _display(figures: list[Figure]) -> None:
    """As the inline backend does it, and with our metadata."""
    from IPython.display import display

    for figure in figures:
        display(figure, metadata={"image/png": {"alt": figure.alt}})  # type: ignore[attr-defined]
        plt.close(figure)
