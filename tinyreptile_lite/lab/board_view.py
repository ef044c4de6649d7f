"""A virtual board in a notebook: LEDs, serial monitor, plotter, button and reset.

`Bench` is the board on the desk and knows nothing of notebooks; `board_widget` draws it.
"""

import asyncio
import re
from html import escape
from typing import Any

import ipywidgets
import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.lab.plots import COLOURS, GREY
from tinyreptile_lite.nano.virtual import VirtualNano

STEP_MS = 50.0  # of virtual time between two refreshes
KEPT_LINES = 200
KEPT_POINTS = 500
BUTTON_PIN = 2
NOTHING_SENT = "Press Run: here comes\nwhat the sketch sends."
NOTHING_DRAWN = "The numbers in it are drawn here."
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|-inf"
_DASHES = ("none", "6 2", "1 2", "6 2 1 2", "12 3", "2 2")
_LEDS = {"builtin": "#F0C000", "red": "#E03030", "green": "#20A020", "blue": "#3060E0"}


def plotted(line: str) -> dict[str, float]:
    """Read a line as the Arduino Serial Plotter does: value by label.

    A line holds numbers, each with a label before a colon if you like, separated by commas, spaces
    or tabs. Numbers without a label are called "value 1" and so on. Any other line gives nothing.

    Examples
    --------
    >>> plotted("loss:0.5,error:2")
    {'loss': 0.5, 'error': 2.0}
    >>> plotted("hello 5")
    {}
    """
    values = {}
    for i, part in enumerate(filter(None, re.split(r"[,\t ]+", line.strip())), 1):
        match = re.fullmatch(rf"(?:([^:]+):)?({_NUMBER})", part)
        if not match:
            return {}
        values[match[1] or f"value {i}"] = float(match[2])
    return values


class Bench:
    """A virtual board on the desk, with its monitor and plotter."""

    def __init__(self, board: VirtualNano) -> None:
        self.board = board
        self._clear()

    def _clear(self) -> None:
        self.lines: list[str] = []  # the last ones that the sketch sent
        self.series: dict[str, list[float]] = {}  # the last points of each label, for the plotter
        self.message = ""  # why the board has stopped, if it has

    def step(self, milliseconds: float = STEP_MS) -> None:
        """Let the board run for some virtual time; a fault stops it and becomes the message."""
        if self.message:
            return
        try:
            self.board.run(milliseconds)
        except KitError as error:
            self.message = str(error)
        new = self.board.serial.read_lines()
        self.lines = (self.lines + new)[-KEPT_LINES:]
        for line in new:
            for label, value in plotted(line).items():
                self.series[label] = [*self.series.get(label, []), value][-KEPT_POINTS:]

    def send(self, line: str) -> None:
        """Send one line to the sketch."""
        self.board.serial.write_line(line)

    def press(self, down: bool, pin: int = BUTTON_PIN) -> None:
        """Press or release a button between a pin and ground."""
        (self.board.pins.press if down else self.board.pins.release)(pin)

    def reset(self) -> None:
        """Press the reset button; monitor and plotter start afresh."""
        self.board.reset()
        self._clear()

    @property
    def status(self) -> str:
        """One line: the reason of a stop, or time, instructions and stack so far."""
        board = self.board
        return self.message or (
            f"{board.time_ms / 1000:.1f} s, {board.instructions:,} instructions, "
            f"stack {board.stack_used:,} of {board.memory.stack:,} bytes"
        )


def board_html(bench: Bench) -> str:
    """Draw LEDs and status as HTML."""
    dots = "".join(
        f'<span title="{name}" style="display:inline-block;width:14px;height:14px;'
        f"margin:0 4px 0 8px;vertical-align:middle;border-radius:7px;"
        f'background:{colour if bench.board.leds[name] else "#DDDDDD"}"></span>'
        f"{name}"
        for name, colour in _LEDS.items()
    )
    return f"<div>{dots}<br>{escape(bench.status)}</div>"


def plotter_svg(series: dict[str, list[float]], width: int = 460, height: int = 180) -> str:
    """Draw the plotter as SVG: one line for each label, newest points on the right.

    Values that are not finite leave a gap. Without any value the frame says what will come.
    """
    finite = [v for values in series.values() for v in values if np.isfinite(v)]
    left, top, bottom = 60, 26, height - 8
    frame = (
        f'<rect x="{left}" y="{top}" width="{width - left - 2}" height="{bottom - top}" '
        'fill="none" stroke="#CCCCCC"/>'
    )
    if not finite:
        middle = f'x="{(left + width) / 2}" y="{(top + bottom) / 2}" text-anchor="middle"'
        parts = [frame, f'<text {middle} fill="{GREY}">{NOTHING_DRAWN}</text>']
        return _svg(width, height, f"Plotter: {NOTHING_DRAWN}", parts)
    low, high = min(finite), max(finite)
    scale = (bottom - top) / ((high - low) or 1)
    step = (width - left - 5) / max(max(map(len, series.values())) - 1, 1)
    parts = [
        frame,
        f'<text x="{left - 6}" y="{top + 9}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">{low:.3g}</text>',
    ]
    said = []
    for i, (label, values) in enumerate(series.items()):
        look = f'stroke="{COLOURS[i % 6]}" stroke-dasharray="{_DASHES[i % 6]}" stroke-width="1.5"'
        points = " ".join(
            f"{left + j * step:.1f},{bottom - (v - low) * scale:.1f}"
            for j, v in enumerate(values)
            if np.isfinite(v)
        )
        parts.append(f'<polyline points="{points}" fill="none" {look}/>')
        text, x = f"{label} {values[-1]:.4g}", left + 140 * i
        said.append(text)
        parts.append(f'<line x1="{x}" x2="{x + 24}" y1="12" y2="12" {look}/>')
        parts.append(f'<text x="{x + 28}" y="16" fill="{COLOURS[i % 6]}">{escape(text)}</text>')
    return _svg(width, height, f"Plotter: {', '.join(said)}", parts)


def _svg(width: int, height: int, alt: str, parts: list[str]) -> str:
    size = f'width="{width}" height="{height}" font-size="12"'
    return f'<svg {size} role="img" aria-label="{escape(alt)}">{"".join(parts)}</svg>'


def monitor_html(lines: list[str]) -> str:
    """Show the last lines that the sketch sent; without any, say what will come."""
    text = escape("\n".join(lines[-12:])) or f'<span style="color:{GREY}">{NOTHING_SENT}</span>'
    style = "height:200px;min-width:230px;overflow:auto;line-height:1.2;border:1px solid #CCCCCC"
    return f'<pre style="{style};padding:2px 6px">{text}</pre>'


def board_widget(board: VirtualNano) -> ipywidgets.VBox:
    """Show a virtual board: LEDs, monitor with an input line, plotter, button and reset.

    "Run" lets virtual time pass in step with real time, until it is pressed again. The button is
    there as soon as the sketch looks at its pin. The widget's attribute `bench` is the `Bench`
    under it.
    """
    bench = Bench(board)
    run = ipywidgets.ToggleButton(description="Run", icon="play")
    button = ipywidgets.ToggleButton(description=f"Button D{BUTTON_PIN}")
    reset = ipywidgets.Button(description="Reset", icon="refresh")
    line = ipywidgets.Text(placeholder="type a line for the sketch", continuous_update=False)
    lights, monitor, plot = (ipywidgets.HTML() for _ in range(3))

    def refresh() -> None:
        lights.value = board_html(bench)
        monitor.value = monitor_html(bench.lines)
        plot.value = plotter_svg(bench.series)
        button.layout.display = "" if bench.board.pins.has_button(BUTTON_PIN) else "none"

    async def play() -> None:
        while run.value and not bench.message:
            bench.step()
            refresh()
            await asyncio.sleep(STEP_MS / 1000)
        run.value = False

    def start(change: dict[str, Any]) -> None:
        if change["new"]:
            run.task = asyncio.ensure_future(play())  # kept, or it might be collected

    def send(change: dict[str, Any]) -> None:
        if change["new"]:
            bench.send(change["new"])
            line.value = ""

    def restart(_: object) -> None:
        bench.reset()
        refresh()

    run.observe(start, "value")
    button.observe(lambda change: bench.press(change["new"]), "value")
    reset.on_click(restart)
    line.observe(send, "value")
    refresh()
    controls = ipywidgets.HBox([run, button, reset])
    panel = ipywidgets.VBox([lights, controls, line, ipywidgets.HBox([monitor, plot])])
    panel.bench = bench
    return panel
