"""What ``prove`` prints: from when to when a chat is complete, what is missing, and the command that reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from engine.console.format import iso, moment
from engine.console.shell import engine_command
from states.completeness import Completeness, Hole
from states.ledger import HoleCause

REASONS: Final = {
    HoleCause.NOT_RUNNING: "nothing was noted: the engine did not run, or the session was used elsewhere",
    HoleCause.TOO_LONG: "the account was away for so long that Telegram does not send it",
    HoleCause.NOT_SUBSCRIBED: "the account could not read the chat",
    HoleCause.NO_ADDRESS: "the session does not know the channel's access hash; open the channel once",
    HoleCause.UNREADABLE: "Telegram sent what this version cannot read; update Holdfast, and Telethon with it",
    HoleCause.NO_HANDLER: "it arrived, and the program had no handler and followed nothing",
    HoleCause.NO_NUMBER: "the engine had heard nothing of the chat before, so nobody knew from where to ask",
    HoleCause.RENUMBERED: "Telegram numbers the chat anew, and what was known before means nothing now",
}
"""Why something is missing, in words."""


@frozen(kw_only=True)
class ChatProof:
    """What is proven of a chat, and whose view of it that is."""

    chat: int
    """Its id, as Telethon marks ids."""
    shown: str
    """What the person called it."""
    box: int
    accounts: Sequence[str]
    proven: Completeness
    config: Path

    @property
    def account(self) -> str | None:
        """The account that must read the chat, where each has its own view of it."""
        return self.accounts[0] if self.accounts and not self.box else None


def lines(proof: ChatProof, now: float) -> list[str]:
    """Return what a person reads."""
    proven = proof.proven
    name = proof.shown if proof.shown == str(proof.chat) else f"{proof.shown} ({proof.chat})"
    seen = f"{name}, as seen by {', '.join(proof.accounts)}" if proof.accounts else name
    if proven.since is None or (proven.until is None and not proven.holes):
        how = _fill_command(proof, None)
        return [f"{seen}: nothing is known of it; read its history: {how}"]
    found = [f"{seen}:"]
    for hole in proven.holes:
        found += _hole(proof, hole, now)
    if proven.until is not None and proven.since is not None:
        what = "complete" if not proven.open else "complete but for that"
        found.append(f"  {what} from {moment(proven.since, now)} to {moment(proven.until, now)}")
    if proven.open and not proof.box:
        found.append("  (private chats and small groups share one count: what is missing may be of another chat)")
    return found


def _hole(proof: ChatProof, hole: Hole, now: float) -> list[str]:
    """Return the lines of one hole."""
    begin = "from the beginning" if hole.since is None else f"from {moment(hole.since, now)}"
    end = "until now" if hole.until is None else f"to {moment(hole.until, now)}"
    what = f"{begin} {end}"
    if hole.interval is not None:
        what += f", pts {hole.interval.after + 1} to {hole.interval.upto}"
    if (between := _between(hole)) is not None:
        what += f", messages {between}"
    if hole.filled is not None:
        return [f"  filled: {what}: its messages were read later by {hole.filled}"]
    return [f"  missing: {what}: {REASONS[hole.cause]}", f"    read them: {_fill_command(proof, hole)}"]


def _between(hole: Hole) -> str | None:
    """Return which messages may be missing."""
    if hole.before_id is None:
        return None if hole.after_id is None else f"after {hole.after_id}"
    return f"{(hole.after_id or 0) + 1} to {hole.before_id - 1}" if hole.before_id - 1 > (hole.after_id or 0) else None


def _fill_command(proof: ChatProof, hole: Hole | None) -> str:
    """Return the command that reads what is missing from the chat's history."""
    data = [f"chat={proof.chat}"]
    if hole is not None and hole.after_id is not None:
        data.append(f"since={hole.after_id + 1}")
    elif hole is not None and hole.since is not None:
        data.append(f"since={(iso(hole.since) or '').partition('.')[0]}")
    options = ["--account", proof.account] if proof.account is not None else []
    return engine_command("jobs add", proof.config, "collect", *data, options=options)


def as_data(proof: ChatProof) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    proven = proof.proven
    return {
        "chat": proof.chat,
        "box": proof.box,
        "accounts": list(proof.accounts),
        "complete": is_complete(proof),
        "since": iso(proven.since),
        "until": iso(proven.until),
        "complete_since": iso(proven.complete_since),
        "holes": [
            {
                "after_pts": hole.interval.after if hole.interval else None,
                "upto_pts": hole.interval.upto if hole.interval else None,
                "cause": hole.cause.value,
                "since": iso(hole.since),
                "until": iso(hole.until),
                "after_message": hole.after_id,
                "before_message": hole.before_id,
                "filled": hole.filled,
                "command": None if hole.filled else _fill_command(proof, hole),
            }
            for hole in proven.holes
        ],
    }


def is_complete(proof: ChatProof) -> bool:
    """Return whether something is known of the chat and nothing is missing."""
    return proof.proven.until is not None and not proof.proven.open
