"""The notebook's board, driven without a browser."""

import asyncio
import re

import pytest

from tinyreptile_lite.lab.board_view import (
    KEPT_LINES,
    NOTHING_DRAWN,
    NOTHING_SENT,
    Bench,
    board_html,
    board_widget,
    monitor_html,
    plotted,
    plotter_svg,
)
from tinyreptile_lite.nano import VirtualNano

SKETCH = """
void setup() { pinMode(2, INPUT_PULLUP); pinMode(LED_BUILTIN, OUTPUT); Serial.println("ready"); }
void loop() {
  digitalWrite(LED_BUILTIN, digitalRead(2) == LOW);
  if (Serial.available()) {
    const int n = Serial.parseInt();
    if (n == 13) *(volatile int *)0x20040000 = 1;
    for (int i = 0; i < n; i++) { Serial.print("x:"); Serial.println(i); }
  }
  delay(1);
}
"""


@pytest.fixture
def board(tmp_path):
    (tmp_path / "W").mkdir()
    (tmp_path / "W" / "W.ino").write_text(SKETCH)
    return VirtualNano(tmp_path / "W")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("loss:0.5,error:-2e-3", {"loss": 0.5, "error": -0.002}),
        ("1 2\t3", {"value 1": 1, "value 2": 2, "value 3": 3}),
        ("ready", {}),
        ("step 3", {}),
        ("", {}),
        ("a:b", {}),
    ],
)
def test_lines_are_read_as_the_serial_plotter_does(line, values):
    assert plotted(line) == values


def test_monitor_plotter_led_and_button(board):
    bench = Bench(board)
    bench.send("3")
    bench.press(True)
    bench.step(1500)
    assert bench.lines == ["ready", "x:0", "x:1", "x:2"]
    assert bench.series == {"x": [0, 1, 2]}
    assert "#F0C000" in board_html(bench)
    bench.press(False)
    bench.step(5)
    assert "#F0C000" not in board_html(bench)
    bench.reset()
    assert (bench.lines, bench.series, board.instructions) == ([], {}, 0)


def test_only_the_last_lines_are_kept(board):
    bench = Bench(board)
    bench.send("1000")
    bench.step(3000)
    assert len(bench.lines) == KEPT_LINES
    assert bench.lines[-1] == "x:999"


def test_a_fault_becomes_the_message(board):
    bench = Bench(board)
    bench.send("13")
    for _ in range(3):
        bench.step(1500)
    assert "0x20040000" in bench.status
    bench.reset()
    bench.step(10)
    assert bench.lines == ["ready"]


def test_the_plotter_leaves_gaps_for_nan():
    points = re.findall(r'points="([^"]*)"', plotter_svg({"a": [1, float("nan"), 3], "b": [2]}))
    assert [len(p.split()) for p in points] == [2, 1]
    assert plotter_svg({}).startswith("<svg")


def test_before_anything_is_sent_the_widget_says_what_will_come(board):
    *_, screens = board_widget(board).children
    for screen, text in zip(screens.children, (NOTHING_SENT, NOTHING_DRAWN), strict=True):
        assert text in screen.value
    assert NOTHING_SENT not in monitor_html(["<ready>"])
    assert "&lt;ready&gt;" in monitor_html(["<ready>"])


def test_the_button_is_there_as_soon_as_the_sketch_looks_at_its_pin(board):
    panel = board_widget(board)
    _, controls, _, _ = panel.children
    run, button, reset = controls.children
    assert button.layout.display == "none"

    async def use():
        run.value = True
        while not panel.bench.lines:
            await asyncio.sleep(0.01)
        run.value = False
        await run.task

    asyncio.run(use())
    assert button.layout.display == ""
    reset.click()
    assert button.layout.display == "none"


def test_the_plotter_tells_its_lines_apart_without_colours_and_says_them():
    svg = plotter_svg({name: [1, 2] for name in 'ab"<'})
    dashes = re.findall(r'<polyline[^>]*stroke-dasharray="([^"]*)"', svg)
    assert len(set(dashes)) == 4
    assert 'role="img" aria-label="Plotter: a 2, b 2, &quot; 2, &lt; 2"' in svg


def test_the_widget_runs_the_board(board):
    panel = board_widget(board)
    _, controls, line, screens = panel.children
    run, button, reset = controls.children

    async def use():
        run.value = True
        line.value = "2"
        button.value = True
        while not panel.bench.series or "x:1" not in screens.children[0].value:
            await asyncio.sleep(0.01)
        run.value = False
        await run.task

    asyncio.run(use())
    assert line.value == ""
    assert board.leds["builtin"]
    assert "polyline" in screens.children[1].value
    reset.click()
    assert board.time_us == 0
