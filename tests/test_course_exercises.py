"""The exercises of the course: solutions pass, and each typical slip gets its sentence."""

from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.exercises import NOTEBOOKS, exercises_of
from tinyreptile_lite.exercises.base import Blank, Wrong
from tinyreptile_lite.exercises.copies import is_solution, read_notebook, source, strip_solution

FOLDER = Path(__file__).parent.parent / "notebooks"
ALL = [(name, one.number) for name in NOTEBOOKS for one in exercises_of(name)]
SEEDS = {"own_outer_rate": 2}  # it trains


def written(notebook: str, number: int, change=lambda text: text):
    """What a student's cell defines, after all cells that it needs."""
    cells = read_notebook(FOLDER / f"{notebook}.ipynb")["cells"]
    namespace = {}
    for cell in cells:
        if "needed" in cell["metadata"].get("tags", []) or is_solution(cell):
            mine = cell["id"] == f"ex{number}"
            exec(change(source(cell)) if mine else source(cell), namespace)
        if cell["id"] == f"ex{number}":
            break
    one = exercises_of(notebook)[number - 1]
    return one, [namespace[name] for name in one.names]


@pytest.mark.parametrize(("notebook", "number"), ALL)
def test_the_solution_passes_and_the_blank_is_told(notebook, number):
    one, answers = written(notebook, number)
    assert one.number == number
    for seed in range(SEEDS.get(one.names[0], 200)):
        one.check(*answers, rng=np.random.default_rng(seed))
    one, blanks = written(notebook, number, strip_solution)
    with pytest.raises(Blank, match="is not written yet"):
        one.check(*blanks, rng=np.random.default_rng(0))


def test_there_are_enough_exercises_and_each_is_its_own():
    assert len(ALL) >= 32
    titles = [one.title for name in NOTEBOOKS for one in exercises_of(name)]
    assert len(set(titles)) == len(titles)


def query(count="steps", learn="support", test="query", start="phi"):
    return (
        f"p = {start}\nfor _ in range({count}):\n"
        f"    p = p - rate * net.loss_and_gradient(p, *{learn})[1]\nreturn net.loss(p, *{test})"
    )


def adam(square="beta2*square + (1-beta2)*gradient**2", under="s / (1 - beta2**t)", then="s"):
    step = f"rate * gradient / (np.sqrt({under}) + epsilon)"
    return f"s = {square}\nreturn params - {step}, {then}"


def a_round(row="i : i + 1", at="w", result="phi + outer_rate * (w - phi)", step="w = w -"):
    slope = f"model.loss_and_gradient({at}, samples[0][{row}], samples[1][{row}])[1]"
    loop = f"for i in range(len(samples[0])):\n    {step} inner_rate * {slope}"
    return f"w = phi\n{loop}\nreturn {result}"


def ram(floats, samples=" + kept_samples * sample_bytes"):
    return f"return {floats}{samples}"


def bytes_of(payload="9 + 4 * n", control="87 + ", frame="n + 2 + n // 254", ways="2 * "):
    sizes = "[min(floats, weights - first) for first in range(0, weights, floats)]"
    return f"ps = [{payload} for n in {sizes}]\nreturn {control}{ways}sum({frame} for n in ps)"


def cobs(number="len(p) + 1", pieces="payload.split(b'\\0')"):
    return f"return b''.join(bytes([{number}]) + p for p in {pieces})"


def whole(order="little", of="payload[:-4]"):
    return f"return crc32({of}).to_bytes(4, '{order}') == payload[-4:]"


def drawn(support="some(0, shots)", query="some(shots, 5)", labels="repeat(count)"):
    return (
        "def some(first, count):\n"
        "    chosen = drawings[:, first : first + count].reshape(-1, 28, 28)\n"
        f"    return chosen, np.arange(len(drawings)).{labels}\n"
        f"return {support}, {query}"
    )


def windows(result="rows - rows.mean()", hop=320, end=15_489):
    rows = f"np.stack([row(np.resize(clip[i:i + 512], 512)) for i in range(0, {end}, {hop})])"
    return f"rows = {rows}\nreturn {result}"


def nearest(result):
    means = "np.stack([known[labels == label].mean(axis=0) for label in np.unique(labels)])"
    far = "np.square(new[:, None] - means).sum(axis=2)"
    return f"means = {means}\nfar = {far}\nreturn {result}"


TILED = "reshape(-1, 1).T.repeat(count, axis=0).ravel()"
RIGHT_FOLD = "np.isin(speakers, np.unique(speakers)[fold::4])"


def top(count="int(np.ceil(len(change) * percent / 100))", key="-np.abs(change)", at="np.sort(a)"):
    return f"n = {count}\na = np.argsort({key})[:n]\nat = {at}\nreturn at, change[at]"


def fed(chosen="total", taken="total", left="total - sent", total="change + kept"):
    put = f"at = top_p({chosen}, percent)[0]\nsent = np.zeros_like(total)\nsent[at] = {taken}[at]"
    return f"total = {total}\n{put}\nreturn sent, {left}"


def cell(
    joules="milliampere_hours * 3.6 * volts", wait="idle_milliamperes / 1000 * volts * seconds"
):
    return f"return int({joules} // (visit_joules + {wait}))"


SCALE = "scale = np.abs(values).max() / 127"
NEAREST_CLIP = "labels[np.square(new[:, None] - known).sum(axis=2).argmin(axis=1)]"

# Notebook, exercise, what is written, and what must be said.
SLIPS = [
    ("00", 1, "e = w*x+b-y; return w - rate*e*x, b - rate*e", "the 2 is missing"),
    ("00", 1, "e = w*x+b-y; return w + rate*2*e*x, b + rate*2*e", "minus, not plus"),
    ("00", 1, "e = w*x+b-y; return w - rate*2*e*x, b", "b learns as well"),
    ("00", 1, "e = w*x+b-y; return w - rate*2*e*x, b - rate*2*e*x", "no x there"),
    ("00", 1, "w -= rate*2*(w*x+b-y)*x; return w, b - rate*2*(w*x+b-y)", "before w moves"),
    ("00", 1, "return w - rate*2*(w*x+b-y)*x", "return two things"),
    ("00", 1, "return w, c", "stops with NameError"),
    ("00", 2, "return np.sum((prediction - target)**2)", "the mean, not the sum"),
    ("00", 2, "return np.mean(prediction - target)**2", "square each difference first"),
    ("00", 2, "return np.mean(np.abs(prediction - target))", "mean distance"),
    ("00", 2, "return (prediction - target)**2", "must be one number"),
    ("00", 2, "return 'four'", "must be numbers"),
    ("00", 3, "return visits * weights * 2", "4 bytes"),
    ("00", 3, "return visits * weights * 4", "twice"),
    ("00", 3, "return 8 * weights", "multiply by the visits"),
    (
        "00",
        3,
        "return {(1, 1): 8, (10, 3): 240, (1000, 1200): 9600000}[weights, visits]",
        "KeyError",
    ),
    ("01", 1, "return np.median(answers), answers.var()", "the median"),
    ("01", 1, "return answers.mean(), answers.std()", "standard deviation"),
    ("01", 1, "return answers.mean(), np.mean(answers**2)", "subtract the answer first"),
    ("01", 1, "return answers.mean()", "return two things"),
    ("01", 2, "return (low**2 + low*high + high**2) / 3", "mean 1/2"),
    ("01", 2, "return ((low + high) / 2)**2 / 2", "not the square of the mean"),
    ("01", 3, "return answers.mean()", "best on average"),
    ("01", 3, "return np.median(answers)", "leaves the devices at the ends alone"),
    ("01", 3, "return (answers.max() - answers.min()) / 2", "add the smallest"),
    ("01", 4, "return np.mean(returned, axis=0)", "that is FedAvg"),
    (
        "01",
        4,
        "phi += rate * (returned[0] - phi); return phi",
        "phi itself has changed",
    ),
    ("01", 4, "return phi + rate * np.sum(returned - phi, axis=0)", "not by their sum"),
    ("01", 4, "return phi - rate * (np.mean(returned, axis=0) - phi)", "the sign is wrong"),
    ("02", 1, query(test="support"), "scored on the support set"),
    ("02", 1, query(count=0), "has not learned"),
    ("02", 1, query(count=1), "one step only"),
    ("02", 1, query(learn="query"), "learned from the query set"),
    ("02", 1, query(count="steps + 1"), "one step too many"),
    ("02", 1, query().replace("p = p - ", "p -= "), "phi itself has changed"),
    ("02", 2, "return 0, 0", "nothing moves"),
    ("02", 2, "return 1, 1", "the best common model is u \\* v = 0"),
    ("02", 2, "return 0.2, 0", "how far one step goes"),
    ("02", 2, "return 1", "return two things"),
    ("02", 3, adam(under="s"), "the average is far too small"),
    ("02", 3, adam(then="s / (1 - beta2**t)"), "not the unbiased one"),
    ("02", 3, adam(square="square + gradient**2"), "beta2 and 1 - beta2"),
    ("02", 3, adam(square="beta2*square + (1-beta2)*gradient"), "square the gradient"),
    ("02", 3, adam(under="s / (1 - beta2 * t)"), "to the power of t"),
    ("02", 3, "params -= rate * gradient; return params, square", "params itself has changed"),
    ("02", 4, "return np.linspace(start, end, rounds)", "divide by the rounds"),
    ("02", 4, "return start + (end - start) * np.arange(1, rounds + 1) / rounds", "count from 0"),
    ("02", 4, "return np.linspace(start, end, rounds + 1)", "one for each round"),
    ("02", 4, "return [start] * rounds", "must fall"),
    (
        "03",
        1,
        ram("weights * (1 + weight_buffers) + layer_floats"),
        "4 bytes",
    ),
    (
        "03",
        1,
        ram("4 * (weights + weight_buffers + layer_floats)"),
        "times, not plus",
    ),
    (
        "03",
        1,
        ram("4 * (weights * (1 + weight_buffers) + layer_floats)", ""),
        "kept samples are missing",
    ),
    ("03", 2, a_round(row="i"), "keeps the shape"),
    ("03", 2, a_round(at="phi"), "at the newest weights"),
    ("03", 2, a_round(result="w"), "that is phi_hat"),
    ("03", 2, a_round(step="w -="), "phi itself has changed"),
    ("03", 2, a_round(result="w + outer_rate * (phi - w)"), "the part of the way"),
    ("03", 3, "return (hidden == 0).all(axis=1).sum()", "not all units of one sample"),
    ("03", 3, "return (hidden == 0).any(axis=0).sum()", "is alive"),
    ("03", 3, "return (hidden == 0).sum()", "counts zeros"),
    ("03", 4, "return 1.0, 1.0", "whoever came last"),
    ("03", 4, "return 0.001, 0.001", "do not get far"),
    ("03", 4, "return 3, 0", "from 0 to 1"),
    ("03", 4, "return 0, 0", "never moves"),
    ("04", 1, "return width * width + 6 * width + 3", "4 bytes"),
    ("04", 1, "return 4 * (width * width + 4 * width + 1)", "workspace is missing"),
    ("04", 1, "return 4 * (width * width + 4 * width + 2)", "has a bias for each"),
    (
        "04",
        2,
        "w = 1\nwhile learning_bytes(w) <= room: w += 1\nreturn w",
        "one less",
    ),
    ("04", 2, "w = 1\nwhile learning_bytes(w + 1) < room: w += 1\nreturn w", "to the last byte"),
    (
        "04",
        2,
        "w = 1\nwhile learning_bytes(w + 1) <= room: w += 1\nreturn learning_bytes(w)",
        "width",
    ),
    ("04", 3, "return steps * instructions * cycles / 64_000_000", "those are seconds"),
    ("04", 3, "return instructions * cycles / 64_000", "that is one step"),
    ("04", 3, "return steps * instructions / 64_000", "more than one cycle"),
    (
        "04",
        4,
        "return text.replace('0.02f', f'{rate}f').replace('32', str(points))",
        "with its value",
    ),
    ("04", 4, "return text.replace('rate = 0.02f', f'rate = {rate}')", "ends in f"),
    ("04", 4, "return text.replace('rate = 0.02f', f'rate = {rate}f')", "points = 32"),
    ("04", 4, "return text.splitlines()", "return the text"),
    ("05", 1, "return 8 * count / bits_per_second", "stop bit"),
    ("05", 1, "return count / bits_per_second", "not bytes"),
    ("05", 2, bytes_of(ways=""), "twice"),
    ("05", 2, bytes_of(control=""), "are missing"),
    ("05", 2, bytes_of(payload="9 + n"), "a weight has 4 bytes"),
    ("05", 2, bytes_of(payload="4 * n"), "9 bytes more"),
    ("05", 2, bytes_of(frame="n"), "n // 254"),
    ("05", 2, "return 8 * weights", "bare weights"),
    ("05", 3, "return drawn", "is away"),
    ("05", 3, "return (drawn + 1) % count", "does it itself"),
    ("05", 3, "return (drawn + 1) % count if drawn in away else drawn", "go on"),
    (
        "05",
        3,
        "while drawn in away: drawn = (drawn - 1) % count\nreturn drawn",
        "not the one before",
    ),
    ("05", 3, "while drawn in away: drawn += 1\nreturn drawn", "place 0"),
    ("05b", 1, cobs("len(p)"), "the length \\+ 1"),
    ("05b", 1, cobs(pieces="filter(None, payload.split(b'\\0'))"), "01"),
    ("05b", 1, "return payload", "still a zero"),
    ("05b", 1, "return payload.hex()", "must return bytes"),
    ("05b", 2, whole("big"), "whole"),
    ("05b", 2, "return True", "has flipped"),
    ("05b", 2, whole(of="payload"), "all but the last four"),
    ("05b", 3, "return 1 + loss", "lost again"),
    ("05b", 3, "return 1 - loss", "one success"),
    ("05b", 3, "return loss / (1 - loss)", "once at least"),
    ("06", 1, drawn(query="some(0, 5)"), "a drawing is in both"),
    ("06", 1, drawn(support="some(0, 1)", query="some(9, 5)"), "ways"),
    ("06", 1, drawn(query="some(shots, 10)"), "take five of each character"),
    ("06", 1, drawn(labels="copy()"), "one label for each drawing"),
    ("06", 1, drawn(labels=TILED), "repeat each label, do not tile them"),
    ("06", 1, drawn(support="some(5, shots)", query="some(0, 5)"), "take the first drawings"),
    ("06", 1, drawn(query="some(shots + 1, 5)"), "take the first drawings"),
    ("06", 2, "phi[net.head] = 0; return phi", "copy it first"),
    ("06", 2, "return phi[: net.head.start]", "keep the body too"),
    ("06", 2, "return phi.copy()", "the head is not zero"),
    ("06", 2, "return np.zeros_like(phi)", "the body has changed"),
    ("06", 3, "return (mean + row) / 2", "half of the old"),
    ("06", 3, "return mean + row", "divide by count"),
    ("06", 3, "return mean + (row - mean) / max(count, 1)", "count \\+ 1"),
    ("06", 3, "return mean.mean()", "an array of shape"),
    ("06", 3, "mean += (row - mean) / (count + 1); return mean", "mean itself has changed"),
    ("06", 4, "return 2 * means.T, np.zeros(len(means))", "a long mean wins"),
    ("06", 4, "return means.T, -(means**2).sum(axis=1)", "has a 2"),
    ("06", 4, "return 2 * means, -(means**2).sum(axis=1)", "turn the means around"),
    ("06", 4, "return -2 * means.T, (means**2).sum(axis=1)", "the farthest mean"),
    ("06", 4, "return 2 * means.T, (means**2).sum(axis=1)", "minus"),
    ("07", 1, "return (samples - window) // hop", "the first frame counts"),
    ("07", 1, "return samples // hop", "would not be whole"),
    ("07", 1, "return samples // window", "frames overlap"),
    ("07", 2, windows("(rows - rows.mean()).T"), "turn it around"),
    ("07", 2, windows(hop=512), "31 rows: frames overlap"),
    ("07", 2, windows(end=16_000), "50 rows: the last frame is not whole"),
    ("07", 2, windows("rows"), "subtract it from all"),
    ("07", 2, windows("rows - rows.mean(axis=0)"), "each band has mean 0"),
    ("07", 2, windows("rows - rows.mean(axis=1, keepdims=True)"), "each row has mean 0"),
    ("07", 2, windows("(rows - rows.mean()) / rows.std()"), "do not divide"),
    ("07", 3, "return np.arange(len(speakers)) % 4 == fold", "not by clip"),
    ("07", 3, f"return ~{RIGHT_FOLD}", "turn it around"),
    ("07", 3, "return np.isin(speakers, np.unique(speakers)[::4])", "must hold out"),
    ("07", 3, "return np.unique(speakers)[fold::4]", "one True or False for each clip"),
    ("07", 4, nearest("far.argmax(axis=1)"), "this is the farthest mean"),
    ("07", 4, nearest(NEAREST_CLIP), "the nearest known clip"),
    ("07", 4, nearest("far.min(axis=1)"), "must be"),
    ("07", 4, nearest("np.abs(new[:, None] - means).sum(axis=2).argmin(axis=1)"), "square each"),
    ("07", 4, nearest("far.argmin()"), "one label for each row"),
    ("08", 1, top(key="-change"), "without the signs"),
    ("08", 1, top(key="np.abs(change)"), "these are the smallest"),
    ("08", 1, top(at="a"), "must rise"),
    ("08", 1, top(count="int(len(change) * percent / 100)"), "rounded up"),
    ("08", 1, top(count="int(np.ceil((change != 0).sum() * percent / 100))"), "the zeros too"),
    ("08", 1, top().replace("return at, ", "return "), "return two things"),
    ("08", 1, top().replace("return at, change[at]", "return change[at], at"), "positions first"),
    ("08", 1, top().replace("change[at]", "np.abs(change[at])"), "keep the sign"),
    ("08", 1, "change[:] = np.abs(change)\n" + top(), "change itself has changed"),
    ("08", 2, f"{SCALE}; return scale, np.rint(values / scale)", "always lost"),
    ("08", 2, f"{SCALE}; return scale, (values / scale + dice).astype(int)", "towards zero"),
    ("08", 2, f"{SCALE}; return scale, np.floor(values / scale)", "dice are missing"),
    ("08", 2, f"{SCALE}; return scale, np.floor(values + dice)", "divide by the scale first"),
    ("08", 2, f"{SCALE}; return scale, np.floor((values + dice) / scale)", "parts of a step"),
    ("08", 2, f"{SCALE}; return scale, values / scale + dice", "no whole numbers yet"),
    ("08", 2, f"{SCALE}; return np.floor(values / scale + dice), scale", "the scale first"),
    ("08", 2, f"{SCALE.replace('127', '128')}; return scale, values", "not to 128"),
    ("08", 2, "scale = values.max() / 127; return scale, values", "by size"),
    ("08", 2, "return 1.0, np.floor(values + dice)", "the largest size, divided by 127"),
    ("08", 3, fed(chosen="change"), "choose by the sum"),
    ("08", 3, fed(chosen="change", taken="change"), "add it before you choose"),
    ("08", 3, fed(taken="change"), "send the sum"),
    ("08", 3, fed(left="total"), "arrive twice"),
    ("08", 3, fed(left="change - sent"), "kept before is forgotten"),
    ("08", 3, fed(left="kept"), "nothing new is kept"),
    ("08", 3, fed(left="sent - total"), "the sign is wrong"),
    ("08", 3, fed(left="np.zeros_like(total)"), "nothing is kept"),
    ("08", 3, fed(total="change - kept"), "NOT sent"),
    ("08", 3, "return change + kept, kept", "everything is sent"),
    ("08", 3, "return top_p(change + kept, percent)[1], kept", "as long as the change"),
    ("08", 3, "change += kept\n" + fed(total="change"), "change itself has changed"),
    ("08", 4, cell(joules="milliampere_hours / 1000 * volts"), "3,600 seconds"),
    ("08", 4, cell(wait="0"), "waiting costs as well"),
    ("08", 4, cell(wait="idle_milliamperes * volts * seconds"), "divide the idle current"),
    ("08", 4, cell(wait="idle_milliamperes / 1000 * seconds"), "takes volts as well"),
    ("08", 4, cell(joules="milliampere_hours * 3.6"), "the volts are missing"),
    ("08", 4, cell(joules="milliampere_hours * 3600 * volts"), "milliampere hours"),
    ("08", 4, cell().replace("int(", "(").replace("//", "/"), "half a round is none"),
    ("08", 4, cell().replace("int(", "1 + int("), "round down"),
    ("08", 4, "return visit_joules / (milliampere_hours * 3.6 * volts)", "joules of the cell"),
]


@pytest.mark.parametrize(("notebook", "number", "body", "words"), SLIPS)
def test_a_slip_gets_its_sentence(notebook, number, body, words):
    (name,) = [one for one in NOTEBOOKS if one.startswith(f"{notebook}_")]

    def change(text):
        head = text[: text.index("    ### BEGIN SOLUTION")]
        lines = [part.strip("\n") for part in body.replace("; ", "\n").split("\n")]
        return head + "".join(f"    {line}\n" for line in lines)

    one, answers = written(name, number, change)
    for seed in range(3):
        with pytest.raises(Wrong, match=words) as told:
            one.check(*answers, rng=np.random.default_rng(seed))
        assert "\n" not in str(told.value)


def test_every_exercise_has_two_slips_or_more():
    told = [
        (name, number) for name in NOTEBOOKS for start, number, *_ in SLIPS if name[:2] == start
    ]
    assert {one: told.count(one) for one in ALL if told.count(one) < 2} == {}
