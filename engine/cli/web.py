"""``web link``."""

from typing import Annotated

from engine.cli.common import DEFAULT_CONFIG, EXIT_BAD_INPUT, EXIT_FAILED, ConfigPath, fail, reporting_errors
from engine.cli.declared import CommandGroup, Parameter
from engine.config import load

app = CommandGroup(name="web", help="The page that a running engine shows in a browser.")


@app.command("link")
def link(
    config: ConfigPath = DEFAULT_CONFIG,
    *,
    reader: Annotated[
        bool,
        Parameter(name="--reader", negative="", help="The link of readers, who see everything and change nothing."),
    ] = False,
) -> None:
    """Print the link that opens the page, with its token. Keep it to yourself: whoever has it can act.

    A token that does not exist yet is made. Exit code 1 if its file cannot be used, 2 for a config without the page.
    """
    with reporting_errors():
        settings = load(config)
        from adapters.system import TokenUnusable  # noqa: PLC0415 - a config that is wrong needs none of these
        from engine.app.page_tokens import link_of  # noqa: PLC0415
        from engine.web.page.source import PageRole  # noqa: PLC0415

        if settings.web is None:
            fail(EXIT_BAD_INPUT, f"{config}: there is no page; add a section web:")
        if settings.web.listen.port == 0:
            fail(EXIT_BAD_INPUT, f"{config}: web.listen has no port of its own; the log says at which the page is")
        settings.storage.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            print(link_of(settings, PageRole.READER if reader else PageRole.OPERATOR))
        except LookupError:
            fail(EXIT_BAD_INPUT, f"{config}: there are no readers; name a file for their token: web.reader_token_file")
        except TokenUnusable as exc:
            fail(EXIT_FAILED, str(exc))
