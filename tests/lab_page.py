"""Read a notebook in JupyterLab as a student does: run it, look at it, move every widget.

`read` returns what it found as a `Reading`; what is wrong stands there in sentences.
"""

import itertools
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lab_server import LabServer
from playwright.sync_api import Browser, ConsoleMessage, Page, WebSocket, expect

SCREEN = {"width": 1366, "height": 768}  # a student's laptop
TALLEST = 16_000  # points; Chromium draws no taller page
PATIENCE = 600  # seconds for all cells of a notebook
ANSWER = 20  # seconds for a widget to show something new
NEWS = 10  # seconds between two lines of progress

Say = Callable[[str], None]


@dataclass
class Reading:
    """What was seen in a notebook."""

    faults: list[str] = field(default_factory=list)
    cells: int = 0  # of code
    widget_cells: set[str] = field(default_factory=set)  # ids of the cells that show widgets
    widgets: list[str] = field(default_factory=list)  # all that can be moved
    moved: list[str] = field(default_factory=list)  # those that were moved, and something was seen


def read(
    browser: Browser,
    server: LabServer,
    notebook: Path,
    pictures: Path,
    say: Say = print,
    answer: float = ANSWER,
) -> Reading:
    """Run all cells of a notebook, move all widgets, and leave screenshots in ``pictures``.

    ``answer`` are the seconds in which a widget must show something new.
    """
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    context = browser.new_context(viewport=SCREEN)
    try:
        reader = _Reader(context.new_page(), server, notebook, pictures, say, answer)
        reader.open()
        reader.run_all()
        reader.look()
        reader.shot("notebook")
        reader.move_all()
        return reader.reading
    finally:
        context.close()
        server.end_kernels()


class Message(NamedTuple):
    """To or from the kernel."""

    header: dict
    parent: dict  # header of the message that this one answers
    metadata: dict
    content: dict


def kernel_message(frame: bytes) -> Message:
    """Read a frame of v1.kernel.websocket.jupyter.org."""
    count = int.from_bytes(frame[:8], "little")
    places = [int.from_bytes(frame[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
    parts = [frame[start:end] for start, end in itertools.pairwise(places)]
    return Message(*map(json.loads, parts[1:5]))


class _Reader:
    def __init__(
        self,
        page: Page,
        server: LabServer,
        notebook: Path,
        pictures: Path,
        say: Say,
        answer: float,
    ) -> None:
        self.page, self.server, self.notebook = page, server, notebook
        self.pictures, self.say, self.answer = pictures, say, answer
        self.cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        self.tags = {f"cell {c['id']}": c["metadata"].get("tags", []) for c in self.cells}
        self.reading, self.shots = Reading(), itertools.count(1)
        self.heard: set[str] = set()  # kinds of messages from the kernel
        self.asked: dict[str, str] = {}  # from a message to the kernel to the cell it is for
        page.add_init_script(path=Path(__file__).with_name("lab_page.js"))
        page.context.route(lambda url: not url.startswith(server.url), self._refuse)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._fault(f"JavaScript fails: {error}"))
        page.on("websocket", self._listen)

    # What the page, the browser and the kernel say meanwhile

    def _fault(self, sentence: str) -> None:
        if sentence not in self.reading.faults:
            self.reading.faults.append(sentence)

    def _refuse(self, route: Any) -> None:
        """A class may have no network."""
        self._fault(f"the notebook asks for {route.request.url}, which is not on this machine")
        route.abort()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            place = message.location["url"].split("?")[0]
            self._fault(f"the browser's console has an error: {message.text[:300]} ({place})")

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", self._note)
        socket.on("framereceived", self._hear)

    def _note(self, frame: bytes | str) -> None:
        """Note which cell a request to the kernel is for."""
        if isinstance(frame, bytes):
            message = kernel_message(frame)
            self.asked[message.header["msg_id"]] = message.metadata.get("cellId", "")

    def _hear(self, frame: bytes | str) -> None:
        """Note what fails, also what no cell shows: a widget's own code writes to a hidden log."""
        if isinstance(frame, str):
            return
        kind, content, who = self._who_says(kernel_message(frame))
        self.heard.add(kind)
        if kind == "error" and "raises-exception" not in self.tags.get(who, []):
            self._fault(f"{who} fails: {content['ename']}: {content['evalue'][:300]}")
        if kind == "stream" and content["name"] == "stderr" and who:
            self._fault(f"{who} complains: {content['text'].strip()[-300:]}")

    def _who_says(self, message: Message) -> tuple[str, dict, str]:
        """Kind and content, and which cell it is that says so, or a widget's code, or neither."""
        kind, parent = message.header["msg_type"], message.parent
        if parent.get("msg_type") == "execute_request":
            return kind, message.content, f"cell {self.asked.get(parent['msg_id'], '')}"
        # Before a cell has run, JupyterLab asks for old widgets, which the kernel does not know.
        return kind, message.content, "a widget's code" if self.reading.cells else ""

    def _ask(self, call: str, *arguments: Any) -> Any:
        return self.page.evaluate(f"(given) => seen.{call}(...given)", list(arguments))

    def _wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > until:
                return False
            self.page.wait_for_timeout(50)
        return True

    # Run

    def open(self) -> None:
        page = self.page
        page.goto(self.server.page(self.notebook))
        expect(page.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible(timeout=60_000)
        # The page says "idle" before the kernel has answered, and then what is run is lost.
        ready = self._wait(
            lambda: "kernel_info_reply" in self.heard and self._ask("progress")["idle"], 60
        )
        assert ready, "the kernel does not start"

    def run_all(self) -> None:
        """Choose "Run All Cells" in the menu, and wait until nothing runs any more."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        start = told = time.monotonic()
        while time.monotonic() < start + PATIENCE:
            now = self._ask("progress")
            # An error ends the run; what is left then has no number, and nothing waits.
            if now["done"] and not now["waiting"] and now["idle"]:
                self.reading.cells = now["cells"]
                self.say(f"{now['done']} of {now['cells']} cells run")
                if now["done"] < now["cells"]:
                    self._fault(f"only {now['done']} of {now['cells']} cells have run")
                return
            if time.monotonic() > told + NEWS:
                told = time.monotonic()
                self.say(f"{now['done']} of {now['cells']} cells run, {told - start:.0f} s")
            self.page.wait_for_timeout(200)
        self._fault(f"not all cells have run after {PATIENCE} s")

    # Look

    def look(self) -> None:
        """Note what has not loaded or cannot be read."""
        self.page.wait_for_timeout(300)  # the last picture may just be coming
        for what in ("unloaded", "formulas", "unreadable"):
            for sentence in self._ask(what):
                self._fault(sentence)

    def shot(self, name: str) -> None:
        """Keep a picture of the whole notebook, with nothing to scroll."""
        height = min(self._ask("height") + 150, TALLEST)  # with menus, tabs and tools
        self.page.set_viewport_size(SCREEN | {"height": height})
        self._ask("to_top")
        self.page.wait_for_timeout(300)
        self.page.locator(".jp-Notebook").first.screenshot(path=self.pictures / f"{name}.png")
        self.page.set_viewport_size(SCREEN)

    # Move

    def move_all(self) -> None:
        """Move each widget, and see that it changes something; then take all as a whole."""
        found = self._ask("controls")
        self.reading.widget_cells = {self.cells[one["cell"]]["id"] for one in found}
        self.reading.widgets = [_named(one) for one in found]
        if not found:
            return
        self.say(f"{len(found)} widgets to move")
        for _, group in itertools.groupby(found, key=lambda one: one["area"]):
            controls = list(group)
            # What is chosen already says nothing when it is chosen again, until another one was.
            for one in sorted(controls, key=lambda one: one["on"] and one["kind"] in _CHOICES):
                self._move(one)
            for one in reversed(controls):
                if one["kind"] == "toggle":
                    self._element(one).click()
        self._settle(found[-1])
        self.look()
        if self._ask("controls") and len(self._ask("controls")) != len(found):
            self._fault("moving widgets has made others come or go")
        self.shot("moved")

    def _element(self, one: dict) -> Any:
        return self.page.locator(f'[data-seen-control="{one["number"]}"]')

    def _move(self, one: dict) -> None:
        if one["kind"] not in _MOVES:
            self._fault(f"nobody knows how to move {_named(one)}: teach it to tests/lab_page.py")
            return
        self._element(one).scroll_into_view_if_needed()
        if all(getattr(self, _MOVES[one["kind"]])(one)):
            self.reading.moved.append(_named(one))

    def _try(self, one: dict, act: Callable[[], object], kinds: str, what: str) -> bool:
        """Do it; whether something changes that is one of these kinds of things."""
        self._ask("remember", one["area"], one["number"])
        act()
        asked = one["area"], one["number"], kinds
        if not self._wait(lambda: self._ask("changed", *asked), self.answer):
            self._fault(f"{_named(one)}: {what} changes nothing that is seen")
            return False
        self._settle(one)
        file = self.pictures / f"{next(self.shots):02d}-{_plain(one['name'])}-{_plain(what)}.png"
        self.page.locator(f'[data-seen-area="{one["area"]}"]').screenshot(path=file)
        return True

    def _settle(self, one: dict) -> None:
        """Wait until nothing changes any more; but some boards never stop."""
        for _ in range(15):
            self._ask("remember", one["area"], one["number"])
            self.page.wait_for_timeout(100)
            quiet = not self._ask("changed", one["area"], one["number"], "picture text look")
            if quiet and self._ask("progress")["idle"]:
                return

    def _slider(self, one: dict) -> list[bool]:
        handle = self._element(one)

        def at(name: str = "now") -> float:
            return float(handle.get_attribute(f"aria-value{name}"))

        def press(key: str) -> bool:
            return self._try(one, lambda: handle.press(key), "picture", key)

        start = at()
        done = [press("ArrowRight" if start < at("max") else "ArrowLeft")]
        done += [press("Home")] if at() > at("min") else []
        done += [press("End")] if at() < at("max") else []
        # Back to the start, so that the next widget shows something; a page is five steps.
        for key, sign in (("PageDown", 1), ("ArrowRight", -1), ("ArrowLeft", 1)):
            while sign * (at() - start) > 0:
                here = at()
                handle.press(key)
                if at() == here:
                    break
        self._settle(one)
        return done

    def _choice(self, one: dict) -> list[bool]:
        box = self._element(one)
        options = box.locator("option").evaluate_all("all => all.map((each) => each.value)")
        start = box.input_value()
        others = [each for each in options if each != start]
        order = [*others, start]
        return [
            self._try(one, lambda each=each: box.select_option(each), "picture", f"option {each}")
            for each in order
        ]

    def _tick(self, one: dict) -> list[bool]:
        click = self._element(one).click
        return [self._try(one, click, "picture", what) for what in ("click", "second click")]

    def _click(self, one: dict) -> list[bool]:
        self._draw_on_papers(one)
        return [self._try(one, self._element(one).click, "picture text", "click")]

    def _click_choice(self, one: dict) -> list[bool]:
        return [self._try(one, self._element(one).click, "picture text look", "click")]

    def _number(self, one: dict) -> list[bool]:
        box = self._element(one)
        keys = ("ArrowUp", "ArrowDown")
        return [self._try(one, lambda key=key: box.press(key), "picture", key) for key in keys]

    def _text(self, one: dict) -> list[bool]:
        def write() -> None:
            self._element(one).fill("n")
            self._element(one).press("Enter")
            self._element(one).blur()

        return [self._try(one, write, "picture text look", "text")]

    def _paper(self, one: dict) -> list[bool]:
        return [self._try(one, lambda: self._stroke(self._element(one)), "picture", "stroke")]

    def _draw_on_papers(self, one: dict) -> None:
        """A button beside a paper does something with the drawing, so there must be one."""
        papers = self.page.locator(f'[data-seen-area="{one["area"]}"] canvas')
        for paper in papers.all():
            self._stroke(paper)
        self._settle(one)

    def _stroke(self, paper: Any) -> None:
        paper.scroll_into_view_if_needed()
        box, mouse = paper.bounding_box(), self.page.mouse
        left, top = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
        mouse.move(left, top)
        mouse.down()
        for x, y in ((0.5, 0.1), (0.5, 0.5), (0.1, 0.4)):
            mouse.move(left + x * box["width"], top + y * box["height"], steps=5)
        mouse.up()


_MOVES = {
    "slider": "_slider",
    "choice": "_choice",
    "tick": "_tick",
    "radio": "_click_choice",
    "number": "_number",
    "text": "_text",
    "toggles": "_click_choice",
    "toggle": "_click",
    "button": "_click",
    "paper": "_paper",
}
_CHOICES = ("radio", "toggles")


def _named(one: dict) -> str:
    return f"{one['kind']} {one['name']}"


def _plain(text: str) -> str:
    """For a file's name."""
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())[:30]
