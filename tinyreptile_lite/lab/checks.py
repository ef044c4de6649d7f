"""Checks: numbers of a long run differ a little from processor to processor, bounds do not."""


def between(name: str, value: float, low: float, high: float) -> None:
    """Print a value and two bounds; raise `AssertionError` if it does not lie between them.

    Thousands of steps amplify the last bit of a float, so the value is another one elsewhere. When
    stored outputs are compared with a fresh run, `notebooks/conftest.py` leaves it out.
    """
    if not low <= value <= high:
        raise AssertionError(f"{name} is {value:.4g}, not between {low:g} and {high:g}")
    print(f"{name}: {value:.3g}, between {low:g} and {high:g}")
