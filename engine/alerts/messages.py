"""What a message says, to a person who reads it on a phone: who, since when, what it means, what to do."""

import json
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, frozen

from adapters.redaction import redacted
from engine.console.format import NO_TIME, local, whole_seconds
from engine.console.remedy import commands_for, is_for_the_first
from engine.console.safe_text import one_line
from engine.console.shell import engine_command
from states.alerts import About, ChannelAlert, MessageKind

MAX_SUBJECT: Final = 120
MAX_TEXT: Final = 400
"""Characters of one value in a message."""
MAX_NAMES_IN_SUBJECT: Final = 3
MAX_NAMES: Final = 20
MAX_LINES: Final = 40
"""Lines of a digest; the other incidents are counted."""
PREFIXES: Final = {MessageKind.OPENED: "", MessageKind.REPEATED: "Still: ", MessageKind.CLOSED: "Over: "}
GOOD: Final = "✅"
CRITICAL: Final = "❌"
WARNING: Final = "⚠️"


@frozen(kw_only=True)
class Letter:
    """One message, as a channel sends it."""

    key: str
    subject: str
    body: str
    tone: str
    data: bytes


def compose(alerts: Sequence[ChannelAlert], now: float, config: str = "") -> Letter:
    """Return the message about one alert, or the digest of several; ``config`` is the file, for the commands in it."""
    one = len(alerts) == 1
    worst = min(alerts, key=lambda each: ("failure", "warning", "success").index(tone_of(each)))
    subject = f"{icon_of(worst)} {headline(worst, now)}"
    if not one:
        subject = f"{icon_of(worst)} {len(alerts)} messages at once, the first: {headline(worst, now)}"
    body = details(alerts[0], now, config) if one else digest(alerts, now, config)
    return Letter(
        key=" ".join(f"{each.about.id}.{each.message}.{each.messages}" for each in alerts),
        subject=_short(subject, MAX_SUBJECT),
        body=body,
        tone=tone_of(worst),
        data=for_programs(subject, body, alerts),
    )


def trial_letter(label: str, config: str) -> Letter:
    """Return the message by which an operator tries a channel."""
    subject = "✅ A test message of Holdfast"
    body = (
        f"This is a test of the channel {label} of {one_line(config)}.\n"
        "It means that alerts reach you here. There is nothing to do."
    )
    data = json.dumps({"subject": subject, "body": body, "test": True, "incidents": []}, ensure_ascii=False)
    return Letter(key="test", subject=subject, body=body, tone="info", data=data.encode("utf-8", "replace"))


def tone_of(alert: ChannelAlert) -> str:
    """Return how bad the news is, in the words of a channel."""
    if alert.message is MessageKind.CLOSED:
        return "success"
    return "failure" if alert.about.severity == "critical" else "warning"


def icon_of(alert: ChannelAlert) -> str:
    """Return the icon that a message begins with."""
    return {"success": GOOD, "failure": CRITICAL, "warning": WARNING}[tone_of(alert)]


def headline(alert: ChannelAlert, now: float) -> str:
    """Return who is concerned, and what is the matter, in one short line."""
    about, end = alert.about, ""
    if alert.message is MessageKind.CLOSED:
        end = f" (it lasted {lasted(about, now)})"
    elif alert.message is MessageKind.REPEATED:
        end = f" (for {lasted(about, now)} now)"
    what = _what(about, closed=alert.message is MessageKind.CLOSED)
    return f"{PREFIXES[alert.message or MessageKind.OPENED]}{what}{end}"


def _what(about: About, *, closed: bool) -> str:
    who = who_of(about, MAX_NAMES_IN_SUBJECT)
    several = about.accounts_total > 1
    match about.kind:
        case "needs_person":
            if closed:
                return f"{who} needed you"
            return f"{who} {'need' if several else 'needs'} you{f': {_safe(about.action)}' if about.action else ''}"
        case "outage":
            return f"{who} had no connection" if closed else f"{who} {'have' if several else 'has'} no connection"
        case "flapping":
            return f"the connection of {who} {'came and went' if closed else 'comes and goes'}"
        case "limited":
            verb = ("were" if several else "was") if closed else ("are" if several else "is")
            return f"{who} {verb} limited by Telegram"
        case "stalled":
            verb = "did" if closed else "do" if several else "does"
            return f"{who} {verb} not get all updates"
        case "job_failed":
            return f"jobs failed: {_safe(about.cause)}"
        case "storage":
            return f"the engine {'could not' if closed else 'cannot'} store: {_safe(about.cause)}"
        case "channel":
            return f"alerts {'did' if closed else 'do'} not get through: {_safe(about.detail or about.cause)}"
        case _:
            return f"{who}: {_safe(about.kind)}"


def who_of(about: About, most: int) -> str:
    """Return the accounts of an incident: their names, or how many they are."""
    names, total = about.accounts, about.accounts_total
    if not names:
        return "the fleet"
    if about.fleet and total > 1:
        return f"{total} accounts"
    shown = [_name(each) for each in names[:most]]
    if total > len(shown):
        return f"{', '.join(shown)} and {total - len(shown)} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def lasted(about: About, now: float) -> str:
    """Return how long an incident lasted, or has lasted so far."""
    return whole_seconds((now if about.closed is None else about.closed) - about.since)


def details(alert: ChannelAlert, now: float, config: str) -> str:
    """Return the body of a message about one incident."""
    about, over = alert.about, alert.message is MessageKind.CLOSED
    lines = []
    if about.accounts_total:
        count = f" ({about.accounts_total} accounts)" if about.accounts_total > 1 else ""
        names = [_name(each) for each in about.accounts[:MAX_NAMES]]
        more = f" and {about.accounts_total - len(names)} more" if about.accounts_total > len(names) else ""
        lines.append(f"Who: {', '.join(names)}{more}{count}")
    if over:
        lines.append(f"When: from {moment(about.since)} to {moment(about.closed)}, {lasted(about, now)} in all")
    else:
        lines.append(f"Since: {moment(about.since)}, {lasted(about, now)} ago")
    if about.detail:
        lines.append(f"What happened: {_safe(about.detail)}")
    if about.meaning and not over:
        lines.append(f"What it means: {_safe(about.meaning)}")
    if over:
        lines.append(f"What was missed: {_safe(about.missed) or 'nothing is known to be missing'}")
        lines.append("What to do: nothing, it is over")
    else:
        lines.append(f"What to do: {_safe(about.action) or 'nothing for now; the engine goes on trying'}")
        lines += _how(about, config)
    if about.acked is not None:
        lines.append(f"Acknowledged: {moment(about.acked)}")
    lines.append("")
    lines.append(f"Incident {about.id}")
    if not over and about.acked is None:
        lines[-1] += f". To hear no more of it: {acknowledge(about.id, config)}"
    return "\n".join(lines)


def _how(about: About, config: str) -> list[str]:
    """Return the commands for what is to be done, a line for each; none where a cause may have a secret in it."""
    if redacted(about.cause) != about.cause:
        return []
    commands = commands_for(str(about.kind), about.cause, about.accounts, config)
    each = " (so for each account)" if is_for_the_first(commands, about.accounts, str(about.kind)) else ""
    return [f"How: {command}{each if command == commands[-1] else ''}" for command in commands]


def digest(alerts: Sequence[ChannelAlert], now: float, config: str) -> str:
    """Return the body of a message about several incidents: a line for each, those that need somebody first."""
    order = sorted(alerts, key=lambda each: (("failure", "warning", "success").index(tone_of(each)), each.about.since))
    lines = [f"{len(alerts)} messages came together, so they are in one:", ""]
    lines += [
        f"{icon_of(each)} {_short(headline(each, now), MAX_TEXT)} – since {moment(each.about.since)}, "
        f"incident {each.about.id}"
        for each in order[:MAX_LINES]
    ]
    if len(order) > MAX_LINES:
        rest = ", ".join(str(each.about.id) for each in order[MAX_LINES:])
        lines.append(f"and {len(order) - MAX_LINES} more, incidents {rest}")
    lines += ["", f"All of them, with what to do: {engine_command('incidents', *_config(config))}"]
    return "\n".join(lines)


def acknowledge(incident: int, config: str) -> str:
    """Return the command that ends the repetition of an incident's messages."""
    return engine_command("incidents ack", *_config(config), incident)


def _config(config: str) -> tuple[str, ...]:
    return (config,) if config else ()


def for_programs(subject: str, body: str, alerts: Sequence[ChannelAlert]) -> bytes:
    """Return a message as JSON: ``subject``, ``body``, and ``incidents``, each with what the message tells of it."""
    incidents: list[dict[str, Any]] = []
    for each in alerts:
        facts = asdict(each.about)
        for key in ("cause", "detail", "meaning", "action", "missed"):
            facts[key] = redacted(facts[key])
        incidents.append({"message": str(each.message), **facts})
    text = json.dumps({"subject": subject, "body": body, "incidents": incidents}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def moment(at: float | None) -> str:
    """Return a time as date, time of day and zone: whoever reads it may be in another one."""
    found = None if at is None else local(at)
    return NO_TIME if found is None else f"{found:%Y-%m-%d %H:%M:%S} (UTC{found:%z})"


def _safe(text: str) -> str:
    return _short(redacted(text), MAX_TEXT)


def _name(name: str) -> str:
    """Return the name of an account, which may be its phone number: it is what the operator calls it."""
    return _short(name, 64)


def _short(text: str, limit: int) -> str:
    safe = one_line(text, limit)
    return safe if len(safe) <= 2 * limit else f"{safe[: 2 * limit]}…"
