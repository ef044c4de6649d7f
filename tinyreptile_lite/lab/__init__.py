"""For notebooks: pictures, widgets, checks and stored figures, all behind one door."""

from tinyreptile_lite.lab import bills, cost_view, diagrams, plots, widgets
from tinyreptile_lite.lab.board_view import board_widget
from tinyreptile_lite.lab.checks import between
from tinyreptile_lite.lab.draw_board import DrawBoard
from tinyreptile_lite.lab.drawing_pad import DrawingPad
from tinyreptile_lite.lab.keyword_board import KeywordBoard
from tinyreptile_lite.lab.link_view import Tap, link_costs, link_widget, overheard
from tinyreptile_lite.results import measured
from tinyreptile_lite.tables import as_rows, command_lines, only, table

__all__ = [
    "DrawBoard",
    "DrawingPad",
    "KeywordBoard",
    "Tap",
    "as_rows",
    "between",
    "bills",
    "board_widget",
    "command_lines",
    "cost_view",
    "diagrams",
    "link_costs",
    "link_widget",
    "measured",
    "only",
    "overheard",
    "plots",
    "table",
    "widgets",
]
