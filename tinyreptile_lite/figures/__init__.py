"""Figures that cannot go stale: made by one command, stamped, and written where they are shown."""
