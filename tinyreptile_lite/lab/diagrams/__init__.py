"""Diagrams that carry the idea, drawn from what really runs and what really is sent."""

from tinyreptile_lite.lab.diagrams.frame import frame_diagram
from tinyreptile_lite.lab.diagrams.path import Walk, arrows, record
from tinyreptile_lite.lab.diagrams.ram import ram_map
from tinyreptile_lite.lab.diagrams.round import round_diagram

__all__ = ["Walk", "arrows", "frame_diagram", "ram_map", "record", "round_diagram"]
