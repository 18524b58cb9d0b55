"""Keys: never two links with one, and none that is dead is used."""

from collections.abc import Iterator
from itertools import pairwise

from tests.simulation.evidence import Evidence, Standing, Verdict
from tests.simulation.judges.shared import (
    any_within,
    attempts_with_key,
    commands_of,
    end_of,
    forgotten,
    grouped,
    lives_by_number,
    sent_at,
    unreadable,
)

ONE_LINK = "one link for each key"
DEAD_KEY = "a dead key is not used"


def one_link_for_each_key(evidence: Evidence) -> Iterator[Verdict]:
    """Never are two connections open that send requests with one key: a datacenter destroys such a key.

    The time of a connection is that of the engine's side, from its first SYN until it closed it: a link that was given
    up is closed before the next one begins, whatever the datacenter knows of it.
    """
    lives = lives_by_number(evidence)
    for connections in grouped(attempts_with_key(evidence), lambda each: each.key).values():
        for former, later in pairwise(connections):
            end = end_of(former, lives)
            if later.began < end and former.life == later.life:
                what = f"connection {later.number} began while connection {former.number} was open, with the same key"
                yield Verdict(judge=ONE_LINK, what=what, at=later.began, account=later.account)
            elif later.first_request is not None and later.first_request < end and former.life != later.life:
                what = (
                    f"life {later.life} used the key of connection {former.number}, which life {former.life} had open"
                )
                yield Verdict(judge=ONE_LINK, what=what, at=later.began, account=later.account)


def dead_keys_are_silent(evidence: Evidence) -> Iterator[Verdict]:
    """After the engine was told that a key is dead, nothing is sent with it until a person asks for an attempt.

    Not judged where the engine cannot know: a kill before it was durable, or an answer that a clock made unreadable.
    """
    delay = evidence.promises.network_delay
    uses = grouped(evidence.requests, lambda each: each.key)
    for dead in evidence.dead_keys:
        if dead.told is None or unreadable(evidence, dead.told):
            continue
        asked = [each.at for each in commands_of(evidence, dead.account)]
        for request in uses.get(dead.key, []):
            sent = sent_at(request)
            if sent <= dead.told + delay or any_within(asked, dead.told, sent):
                continue
            if not forgotten(evidence, dead.told, sent):
                what = f"{request.method} was sent with a key that was refused with {dead.why} at {dead.told:.3f} s"
                yield Verdict(judge=DEAD_KEY, what=what, at=request.at, account=dead.account)
                break
    yield from _silent_in_auth_failed(evidence)


def _silent_in_auth_failed(evidence: Evidence) -> Iterator[Verdict]:
    """Condemn requests between two looks that found an account in ``auth_failed``, and no command between them."""
    for account, standings in grouped(evidence.standings, lambda each: each.account).items():
        asked = [each.at for each in commands_of(evidence, account)]
        used = sorted(each.at for each in evidence.requests if each.account == account)
        looks: list[Standing] = sorted(standings, key=lambda each: each.at)
        for former, later in pairwise(looks):
            if former.state != "auth_failed" or later.state != "auth_failed":
                continue
            begin = former.at + 2 * evidence.promises.network_delay
            found = next((at for at in used if begin < at < later.at), None)
            if found is not None and not any_within(asked, former.at, later.at):
                what = "a request was sent while the account was in auth_failed, and nobody had asked for it"
                yield Verdict(judge=DEAD_KEY, what=what, at=found, account=account)
