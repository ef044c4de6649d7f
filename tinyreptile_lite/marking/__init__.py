"""Marking: thirty hand-ins in one go, each behind walls, with the kit's own checks.

Three kinds of process take part. The command (`run`) reads no hand-in. It starts a judge (`judge`)
for each, which reads the file, finds of which notebook it is (`handin`, `plan`), and runs the kit's
checks. The judge starts the student's process (`process`, `student`), which runs the cells behind
walls (`walls`) and answers calls of the student's functions through a pipe (`coding`).

What the student's process says is a result to be checked and never a verdict. So nothing is gained
by changing a check in the hand-in, by patching NumPy or the kit, or by printing what a right answer
prints.
"""
