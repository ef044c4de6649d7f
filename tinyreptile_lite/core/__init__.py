"""The C core from Python: how it is built, what it knows, learners that run in it, and export."""
