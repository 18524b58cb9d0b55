"""A plain Telethon program, without Holdfast: it repeats what it hears."""

from telethon import TelegramClient, events


def echo(client: TelegramClient) -> None:
    """Answer each incoming message with its own text."""

    async def repeat(event: events.NewMessage.Event) -> None:
        await event.respond(event.raw_text)

    client.add_event_handler(repeat, events.NewMessage(incoming=True))
