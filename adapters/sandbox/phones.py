"""How accounts are named: users by their phone numbers, bots as bot7000000001.

Only Telegram's test range of numbers exists here: 99966XYYYY, where X is the number of a datacenter. Source:
https://core.telegram.org/api/auth#test-accounts
"""

import re
from typing import Final

from adapters.sandbox.errors import SandboxError

TEST_NUMBER: Final = re.compile(r"99966\d{5}", re.ASCII)
BOT: Final = "bot"
BOT_ID: Final = re.compile(r"\d{5,10}", re.ASCII)
BOT_NAME: Final = re.compile(r"bot\d{5,10}", re.ASCII)
CODE_LENGTH: Final = 5


def normalise(name: str) -> str:
    """Return the name of an account: the digits of a test number, or the name of a bot.

    A plus sign, spaces and dashes are dropped. Raises SandboxError for any other text.
    """
    return name if BOT_NAME.fullmatch(name) else normalise_number(name)


def normalise_number(phone: str) -> str:
    """Return the digits of a test number, without plus sign, spaces and dashes. Raises SandboxError for other text."""
    digits = re.sub(r"[+\s()-]", "", phone)
    if not TEST_NUMBER.fullmatch(digits):
        raise SandboxError(
            f"'{phone}' is not a number of the sandbox; use one of Telegram's test range, such as +9996620001."
        )
    return digits


def login_code(phone: str) -> str:
    """Return the code that logs a normalised number in: its digit X five times."""
    return phone[5] * CODE_LENGTH
