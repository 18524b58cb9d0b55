"""The job registry: the engine's own kinds of jobs, and those of the config's modules. A composition root."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from attrs import frozen

from adapters.own_places import OwnPlaces
from adapters.sqlite.jobs import NewJob
from adapters.telegram.builtin_jobs import BUILT_IN, ENDLESS
from adapters.telegram.media_jobs import media_kinds
from engine.config import Config, UnknownAccount
from engine.console.format import nearest
from engine.paths import DATABASE, WEB_TOKEN
from engine.work.kinds import BadJob, JobKind, JobKinds, unstorable
from engine.work.modules import BadModule, ModuleContents, load_modules

MAX_PRIORITY = 1_000_000
LAST_DUE = 32_503_680_000.0
"""The latest time at which a job may begin (Unix seconds): the end of the year 2999. Anything later is a mistake, and
the last years of the calendar cannot be shown in every time zone."""


@frozen
class JobRegistry:
    """The kinds of jobs of a config, and the other functions of its modules."""

    config: Config
    modules: ModuleContents
    kinds: JobKinds

    @classmethod
    def of(cls, config: Config) -> Self:
        """Import the modules of a config. Raises ``BadModule``, also if the config has rules for an unknown kind."""
        named = [(each.module, each.accounts) for each in config.work.modules]
        modules = load_modules(named, config.path.absolute().parent)
        own_kinds = (*BUILT_IN, *media_kinds(own_places(config)))
        endless = [JobKind(*each, endless=True) for each in ENDLESS]
        built_in = {name for name, *_ in (*own_kinds, *ENDLESS)}
        for kind in modules.kinds:
            if kind.name in built_in:
                raise BadModule(f"{config.path.name}: work.modules: the kind {kind.name!r} is built in; rename yours")
        kinds = JobKinds.of([*(JobKind(*each) for each in own_kinds), *endless, *modules.kinds])
        for name in config.work.kinds:
            if kinds.get(name) is None:
                hint = nearest(name, kinds.by_name)
                raise BadModule(f"{config.path.name}: work.kinds.{name}: no module has this kind; {hint}")
        return cls(config, modules, kinds)

    def check(
        self,
        kind: str,
        data: Mapping[str, Any],
        account: str | None,
        priority: int = 0,
        due: float | None = None,
        *,
        wait: float | None = None,
    ) -> NewJob:
        """Return the job if it can be added; otherwise raise ``BadJob`` with the reason.

        ``wait`` is the length of a wait that ends at ``due``: unlike a time that was chosen, it moves with the clock.
        """
        _check_types(kind, data, account, priority, due)
        if (fault := unstorable(data)) is not None:
            raise BadJob(f"the data of a {kind} job cannot be stored: {fault}")
        self.kinds.check(kind, data)
        if account is not None:
            try:
                account = self.config.account(account).name
            except UnknownAccount as exc:
                raise BadJob(str(exc)) from None
        if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise BadJob(f"a priority is a whole number from -{MAX_PRIORITY:,} to {MAX_PRIORITY:,}, not {priority}")
        if due is not None and not 0 <= due < LAST_DUE:  # NaN fails this, too
            raise BadJob("a job begins at a time from 1970 to 2999; choose one of these years")
        return NewJob(kind=kind, data=dict(data), account=account, priority=priority, due=due, wait=wait)

    def data_of(self, kind: str, words: Sequence[str]) -> dict[str, Any]:
        """Return the data in words such as ``to=@news``: text where the kind takes text, else JSON.

        Raises ``BadJob``.
        """
        named = self.kinds.named(kind)
        data: dict[str, Any] = {}
        for word in words:
            name, equals, text = word.partition("=")
            if not equals or not name:
                raise BadJob(f"{word!r} is not data; write name=value, such as to=@news")
            data[name] = named.value_of(name, text)
        return data


def own_places(config: Config) -> OwnPlaces:
    """Return where the engine's own files are: the config, logins, tokens, and the data directory."""
    web = config.web
    tokens = (web.token_file, web.reader_token_file) if web is not None else ()
    own = [config.storage.directory / each for each in (DATABASE, WEB_TOKEN)]
    files = [config.path.absolute(), *(account.session for account in config.accounts), *filter(None, tokens), *own]
    return OwnPlaces.of(files, [config.storage.directory])


def _check_types(kind: object, data: object, account: object, priority: object, due: object) -> None:
    """Raise ``BadJob`` for a value of a wrong type, which a program may pass."""
    if not isinstance(kind, str):
        raise BadJob(f"a job's kind is a name such as 'send', not {kind!r:.60}")
    if not isinstance(data, Mapping):
        raise BadJob(f"the data of a {kind} job are a mapping, not {_called(data)}; write {{}} for none")
    if account is not None and not isinstance(account, str):
        raise BadJob(f"a job's account is a name, not {_called(account)}")
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise BadJob(f"a job's priority is a whole number, not {_called(priority)}")
    if due is not None and (not isinstance(due, int | float) or isinstance(due, bool)):
        raise BadJob(f"a job's due is a time in Unix seconds, such as time.time() + 60, not {_called(due)}")


def _called(value: object) -> str:
    return "None" if value is None else f"a value of the type {type(value).__name__}"
