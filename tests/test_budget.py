"""What visits cost in a served run, and boards that have spent their budget."""

import contextlib
import json

import numpy as np
import pytest

from tinyreptile_lite import checkpoint, cli
from tinyreptile_lite.clients import SimulatedClient
from tinyreptile_lite.energy import EnergyModel
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.gauge import Reading
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.live import Live
from tinyreptile_lite.serve.roster import seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import Strategy, fed_avg, tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.links import LocalLink
from tinyreptile_lite.wire.local import LocalBoard

FAMILY = Sine()
NET = FAMILY.network()
DEVICES = seated_devices(FAMILY, 0)
STRATEGY = tiny_reptile(0.02, 4)
VISIT = 1.06e-3  # joules of such a visit of a board on a link, about


def boards_of(count):
    links = [FaultyLink(LocalLink(LocalBoard(NET, one)), Faults()) for one in DEVICES[:count]]
    return [BoardClient(link, NET, patience=4) for link in links]


def serve(folder, clients, budget=None, rounds=12, strategy=STRATEGY, watch=None, **options):
    visitor = Boards(clients, wait=0.0, budget=budget, **options)
    federation = Federation(NET, strategy, visitor, rounds, np.random.default_rng(1))
    watch = watch or Live()
    return Server(federation, folder / "phi.npz", folder / "phi.journal", watch)


def events(folder, kind):
    return [one for one in read_journal(folder / "phi.journal") if one.get("event") == kind]


# ---- Costs ---------------------------------------------------------------------------------------


def test_the_journal_tells_bytes_instructions_and_joules_of_each_visit(tmp_path):
    server = serve(tmp_path, boards_of(2))
    with contextlib.closing(server):
        server.run()
    spent, traffic = events(tmp_path, "spent"), server.boards.traffic
    assert len(spent) == 12
    assert sum(one["bytes_down"] for one in spent) == traffic.sent  # the board's view
    assert sum(one["bytes_up"] for one in spent) == traffic.received
    for one in spent:
        assert one["learned"] and one["work"] == "counted" and one["seconds"] > 0
        joules = one["modelled_joules"]
        assert joules["sent"] == pytest.approx(one["bytes_up"] * 0.1152e-6)
        assert joules["compute"] == pytest.approx(one["cycles"] * 155e-12)
        assert joules["idle"] == 0  # this computer's seconds are no board's
    total = server.boards.spent
    assert total.work.instructions == sum(one["instructions"] for one in spent)
    assert total.energy.work == pytest.approx(12 * VISIT, rel=0.1)


def test_a_visit_that_fails_costs_its_bytes(tmp_path):
    (client,) = boards_of(1)
    server = serve(tmp_path, [client], watch=lambda *_: None)
    client.session.link.faults = Faults(flip=1)
    with contextlib.closing(server), pytest.raises(KitError, match="no board has taken part"):
        server.step()
    failed = events(tmp_path, "spent")
    assert failed and not any(one["learned"] or one["instructions"] for one in failed)
    assert sum(one["bytes_down"] for one in failed) > 0


def test_a_simulated_device_costs_what_the_formula_says(tmp_path):
    clients = [SimulatedClient(NET, device) for device in DEVICES[:2]]
    with contextlib.closing(serve(tmp_path, clients, model=EnergyModel(tx_dbm=8))) as server:
        server.run()
    each = server.boards.spent.bytes_up / 12
    assert each == pytest.approx(4 * NET.size, rel=0.1)
    louder = server.boards.spent.energy
    assert louder.sent / louder.received == pytest.approx(14.8 / 4.6)


def test_a_score_is_work_as_well(tmp_path):
    for count in (0, 8):
        (tmp_path / str(count)).mkdir()
        with contextlib.closing(
            serve(tmp_path / str(count), boards_of(1), test_count=count, rounds=1)
        ) as server:
            server.run()
    plain, scored = (events(tmp_path / str(count), "spent")[0] for count in (0, 8))
    assert scored["instructions"] > plain["instructions"]
    assert scored["work"] == "estimated"
    assert scored["modelled_learning_joules"] == plain["modelled_learning_joules"]


def test_a_gauge_that_begins_again_loses_nothing():
    assert Reading(5, 6, 7, 8).since(Reading(1, 1, 1, 1)) == Reading(4, 5, 6, 7)
    assert Reading(5, 6, 7, 8).since(Reading(9, 9, 9, 9)) == Reading(5, 6, 7, 8)
    assert Reading.unpack(Reading(5, 6, 7, 8).pack()) == Reading(5, 6, 7, 8)


# ---- Budgets -------------------------------------------------------------------------------------


def test_a_board_that_has_spent_its_budget_is_left_in_peace(tmp_path, capsys):
    server = serve(tmp_path, boards_of(3), budget=3.5 * VISIT)
    with contextlib.closing(server):
        server.run()  # 12 visits: four each
    orders = [one["board"] for one in events(tmp_path, "spent")]
    assert {orders.count(name) for name in server.boards.names} == {4}
    peace = events(tmp_path, "peace")
    assert {one["board"] for one in peace} == set(server.boards.names)
    for one in peace:
        assert "left in peace: it has spent 4." in one["reason"] and "modelled" in one["reason"]
        later = [r for r in events(tmp_path, "visit") if r["round"] > one["round"]]
        assert one["board"] not in [r["board"] for r in later]
    assert "left in peace" in capsys.readouterr().err


def test_without_a_budget_the_run_is_the_same_in_every_bit(tmp_path):
    phis = []
    for name, budget in (("without", None), ("large", 1e3)):
        (tmp_path / name).mkdir()
        server = serve(tmp_path / name, boards_of(3), budget, strategy=fed_avg(0.02, 4, 2))
        with contextlib.closing(server):
            server.run()
        phis.append(server.federation.phi)
    np.testing.assert_array_equal(*phis)


def test_when_all_have_spent_it_phi_is_kept_and_a_larger_budget_goes_on(tmp_path, refuses):
    server = serve(tmp_path, boards_of(2), budget=2.5 * VISIT)
    with (
        contextlib.closing(server),
        refuses("every board has spent", "6 rounds are done", "larger"),
    ):
        server.run()
    assert checkpoint.read(tmp_path / "phi.npz")[1]["round"] == 6
    again = serve(tmp_path, boards_of(2), budget=2.5 * VISIT)
    with contextlib.closing(again), refuses("every board has spent", "6 rounds are done"):
        again.run()
    assert again.boards.traffic.sent < 1000  # a greeting, and no order
    more = serve(tmp_path, boards_of(2), budget=100 * VISIT)
    with contextlib.closing(more):
        more.run()
    assert more.federation.round == 12
    assert more.boards.spent.energy.work == pytest.approx(12 * VISIT, rel=0.1)  # all runs


def test_what_a_killed_server_has_spent_counts(tmp_path, monkeypatch):
    """Also in the round that it did not finish."""
    server = serve(tmp_path, boards_of(1), budget=1.0)
    server.step()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Strategy, "combine", die)
        server.step()
    server.close()
    again = serve(tmp_path, boards_of(1), budget=1.0)
    again.close()
    assert again.federation.round == 1
    assert again.boards.spent.energy.work == pytest.approx(2 * VISIT, rel=0.1)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_cannot_be_is_one_sentence(budget, refuses):
    with refuses(f"the budget of a board is {budget} J", "more than 0"):
        Boards(boards_of(1), budget=budget)


def test_the_command_line_says_who_is_left_in_peace(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["serve", "local:1", "numpy:1", "--rounds", "8", "--json"]
    assert cli.main([*words, "--joules-per-board", "0.002"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert "every board has spent the 0.002 J, modelled" in error[-1]
    assert not any("waiting" in line for line in error)
    assert sum("left in peace" in line for line in error) == 2
    assert cli.main([*words, "--joules-per-board", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rounds"] == 8
    for board in result["boards"]:
        assert board["peace"] is None and board["modelled_joules"]["sent"] > 0
    assert cli.main(["energy", "phi.journal"]) == 0
    assert "numpy:sine-1" in capsys.readouterr().out


def test_a_journal_without_costs_is_one_sentence(tmp_path, capsys):
    serve(tmp_path, boards_of(1)).close()
    assert cli.main(["energy", str(tmp_path / "phi.journal")]) == 2
    assert "phi.journal tells no costs" in capsys.readouterr().err
