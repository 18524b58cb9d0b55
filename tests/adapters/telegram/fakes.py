"""A stand-in for the user who logs in."""

from collections import deque
from collections.abc import Awaitable, Callable

from attrs import define, field

CODE = "22222"
"""The login code of the test numbers of datacenter 2."""
Answer = str | BaseException | Callable[[], Awaitable[str]]


@define(eq=False)
class ScriptedAnswers:
    """Gives answers that were written down beforehand, and records what was asked and said."""

    answers: deque[Answer] = field(factory=deque, converter=deque)
    yes: bool = False
    heard: list[str] = field(factory=list)
    shown: Callable[[str], None] = lambda _: None
    """Called with each QR code."""

    async def _answer(self, question: str) -> str:
        self.heard.append(question)
        answer = self.answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, str) else await answer()

    async def ask_phone(self) -> str:
        return await self._answer("phone")

    async def ask_code(self, where: str) -> str:
        return await self._answer(f"code {where}")

    async def ask_password(self, hint: str) -> str:
        return await self._answer(f"password {hint}")

    async def show_qr(self, url: str) -> None:
        self.heard.append("qr")
        self.shown(url)

    async def say(self, sentence: str) -> None:
        self.heard.append(sentence)

    async def confirm(self, question: str) -> bool:
        self.heard.append(question)
        return self.yes
