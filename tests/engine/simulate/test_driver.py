"""What a simulated fleet does under each kind of disturbance: the decisions are the engine's, so it is known."""

from attrs import evolve

from adapters.sandbox.faults.kinds import FaultKind
from engine.config.types import Fleet
from engine.simulate.disturbances import Disturbance, ModelKind
from engine.simulate.driver import AccountModel, Simulation
from engine.simulate.network import NetworkModel
from engine.simulate.observed import Observed
from engine.simulate.summary import summarise
from states import Policy, State

NETWORK = NetworkModel(latency=0.1, spread=0.0, handshakes=100.0)
FLEET = Fleet(connects_at_once=32, stagger=0.0)
BEGIN = 200.0


def simulated(
    *disturbances: Disturbance, count: int = 1, duration: float = 600.0, policy: Policy | None = None
) -> Simulation:
    """Run some accounts, and return the simulation."""
    models = [AccountModel(f"Account {number}") for number in range(count)]
    made = Simulation(
        models, policy or Policy(), FLEET, disturbances, duration=duration, network=NETWORK, keeps=True, seed=1
    )
    made.run()
    return made


def way(simulation: Simulation, account: int = 0) -> list[tuple[State, float]]:
    """Return the states that an account entered, each with the seconds since the beginning."""
    lives = simulation.observed.lives
    assert lives is not None
    return [(state, round(at - simulation.begin, 3)) for state, at in lives[account].spans]


def hurt(kind: FaultKind | ModelKind, length: float = 0.0, *, seconds: float = 0.0, code: int = 0) -> Disturbance:
    """Return a disturbance of all accounts that begins when links are stable."""
    return Disturbance(begin=BEGIN, end=BEGIN + length, kind=kind, seconds=seconds, code=code, rate=1.0)


def test_an_account_connects_in_two_ways_to_the_datacenter() -> None:
    """TCP takes one latency, the proof another and the time of a handshake."""
    assert way(simulated()) == [(State.CONNECTING, 0.0), (State.HEALTHY, 0.2)]


def test_a_reset_of_a_stable_link_is_followed_by_an_attempt_at_once() -> None:
    """It is noticed after half the way, and over after an attempt."""
    moves = way(simulated(hurt(FaultKind.RESET)))[2:]
    assert moves == [(State.RECONNECTING, BEGIN + 0.05), (State.HEALTHY, BEGIN + 0.25)]


def test_a_silent_link_is_suspected_then_lost() -> None:
    """The probe and its second wait out their patience; the datacenter is asked again meanwhile."""
    states = [state for state, _ in way(simulated(hurt(FaultKind.BLACKHOLE, 40.0)))[2:]]
    assert states[:2] == [State.TIMEOUT, State.RECONNECTING]
    assert states[-1] is State.HEALTHY


def test_a_silence_that_is_shorter_than_the_patience_ends_in_health() -> None:
    """The link works again when it is over: the second probe is answered."""
    lost = simulated(hurt(FaultKind.BLACKHOLE, 10.5))
    assert [state for state, _ in way(lost)[2:]] == [State.TIMEOUT, State.HEALTHY]


def test_a_half_open_link_never_works_again() -> None:
    """The network does, so the next link does."""
    states = [state for state, _ in way(simulated(hurt(ModelKind.HALF_OPEN)))[2:]]
    assert states == [State.TIMEOUT, State.RECONNECTING, State.HEALTHY]


def test_an_open_link_does_not_notice_that_new_ones_are_refused() -> None:
    """Nothing happens to it."""
    for kind in (FaultKind.REFUSE, FaultKind.SYN_DROP, FaultKind.ACCEPT_THEN_CLOSE):
        assert len(way(simulated(hurt(kind, 100.0)))) == 2


def test_a_first_packet_that_was_dropped_is_sent_again() -> None:
    """The attempt under way succeeds when Linux has sent it again, without another one."""
    simulation = simulated(hurt(FaultKind.SYN_DROP, 2.5), hurt(FaultKind.RESET))
    assert way(simulation)[2:] == [(State.RECONNECTING, BEGIN + 0.05), (State.HEALTHY, BEGIN + 3.25)]
    assert attempts(simulation.observed) == 2


def test_an_outage_of_the_network_is_probed_without_the_accounts() -> None:
    """All of them are back soon after it, with few attempts in it."""
    simulation = simulated(hurt(ModelKind.GONE, 120.0), count=40)
    found = summarise(simulation)
    (recovery,) = found.recoveries
    assert recovery.lost == 40
    assert recovery.back[-1] is not None
    assert recovery.back[-1] < 10.0
    assert found.network_probes > 3
    assert found.attempts < 40 * 3


def test_a_revoked_login_is_never_tried_again() -> None:
    """The next proof is refused, and no attempt follows."""
    simulation = simulated(Disturbance(begin=BEGIN, end=None, kind=FaultKind.REVOKE))
    assert [state for state, _ in way(simulation)[2:]] == [State.AUTH_FAILED]
    assert attempts(simulation.observed) == 1
    assert summarise(simulation).recoveries[0].away == 1


def test_a_flood_wait_is_a_floor() -> None:
    """An attempt that is refused waits at least as long as the server says."""
    flood = Disturbance(begin=BEGIN, end=BEGIN + 5, kind=FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_90")
    moves = way(simulated(flood, hurt(FaultKind.RESET)))[2:]
    assert [state for state, _ in moves] == [State.RECONNECTING, State.BACKOFF, State.RECONNECTING, State.HEALTHY]
    assert moves[2][1] - moves[1][1] >= 90


def test_an_account_that_is_lost_again_is_counted_once() -> None:
    """With a patience shorter than the way to the datacenter each probe loses the link, and one account is lost."""
    hasty = evolve(Policy(), timeout=evolve(Policy().timeout, patience=(0.001,)))
    simulation = simulated(hurt(FaultKind.RESET), policy=hasty, duration=BEGIN + 120.0)
    recovery = summarise(simulation).recoveries[0]
    assert attempts(simulation.observed) > 3
    assert (recovery.lost, 0 <= recovery.away <= 1) == (1, True)


def test_handshakes_that_the_datacenter_has_no_time_for_wait() -> None:
    """One per second is completed, so ten accounts need ten seconds."""
    simulation = simulated(hurt(ModelKind.HANDSHAKES, 100.0), hurt(FaultKind.RESET), count=10)
    recovery = summarise(simulation).recoveries[-1]
    assert recovery.back[-1] is not None
    assert 9.0 < recovery.back[-1] < 11.0


def test_the_limiter_lets_no_more_accounts_connect_at_once() -> None:
    """The peak is the setting."""
    assert summarise(simulated(count=100)).at_once.most == FLEET.connects_at_once


def test_what_is_counted_adds_up() -> None:
    """Each figure is the sum of what the accounts did."""
    simulation = simulated(hurt(ModelKind.GONE, 60.0), count=30)
    found, lives = summarise(simulation), simulation.observed.lives
    assert lives is not None
    assert found.rows == sum(len(life.records) for life in lives)
    assert found.attempts == sum(len(life.attempts) for life in lives) == sum(found.series["attempts"])
    healthy = 0.0
    for life in lives:
        ends = [at for _, at in life.spans[1:]] + [simulation.begin + simulation.duration]
        healthy += sum(end - at for (state, at), end in zip(life.spans, ends, strict=True) if state is State.HEALTHY)
    assert abs(found.availability - healthy / (30 * simulation.duration)) < 1e-9
    assert sum(found.states.values()) == 30


def test_a_run_that_is_ended_says_what_is_known() -> None:
    """It ends at the next look, and its figures are of the time until then."""
    models = [AccountModel(f"Account {number}") for number in range(3000)]
    made = Simulation(models, Policy(), FLEET, duration=600.0, network=NETWORK, progress=lambda _: False)
    made.run()
    found = summarise(made)
    assert not found.complete
    assert 0 < found.lasted < 600
    assert found.attempts == sum(found.series["attempts"]) > 0


def attempts(observed: Observed) -> int:
    """Return how many connections were tried."""
    return sum(observed.attempts)


def test_a_healthy_fleet_costs_nothing() -> None:
    """A day of it takes no more decisions than its start: a start, a turn, a link, and that it is stable."""
    assert simulated(count=50, duration=86_400.0).observed.decisions == 4 * 50
