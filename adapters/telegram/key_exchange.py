"""What the exchange of an auth key may cost: the other side's numbers are bounded before they are computed with.

It happens when an account logs in and when a client connects to a datacenter with files. Its first answer is not even
encrypted, so anybody on the way can give it. Telethon computes on the event loop with whatever it is given: a prime in
place of a product keeps its factorization busy for hours, a modulus of a megabyte its exponentiation for days. Here
both raise ``SecurityError`` at once, like everything else that makes no sense, with a short text that has nothing of
what was sent.
"""

import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from telethon.errors import SecurityError
from telethon.network import authenticator

PQ_BITS: Final = 63
"""Source: https://core.telegram.org/mtproto/auth_key, "pq is a representation of a natural number up to 2^63-1"."""
MAX_STEPS: Final = 1_000_000
"""Steps of a factorization. A factor below 2^32 takes about a hundred thousand."""
STEPS_AT_ONCE: Final = 128
"""Steps between two greatest common divisors."""
WITNESSES: Final = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
"""The bases with which the test of Miller and Rabin is exact below 2^64."""
MAX_NUMBER_BYTES: Final = 256
"""Bytes of the modulus and of the public values: Telegram's have 2,048 bits."""
MAX_TEXT: Final = 120
"""Characters of what a failed exchange says: some texts of Telethon's have everything that was sent."""


def is_prime(number: int) -> bool:
    """Return whether a number below 2^64 is prime."""
    if number < 2 or any(number % witness == 0 for witness in WITNESSES):
        return number in WITNESSES
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    for witness in WITNESSES:
        power = pow(witness, (number - 1) >> twos, number)
        if power in {1, number - 1}:
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


class BoundedFactorization:
    """Takes the place of Telethon's ``Factorization``."""

    @staticmethod
    def factorize(pq: int) -> tuple[int, int]:
        """Return the two factors of a product of two primes, the smaller one first. Raises ``SecurityError``."""
        if not 4 <= pq < 1 << PQ_BITS or is_prime(pq):
            raise SecurityError("Step 2 got a number that is no product of two primes")
        for small in (*WITNESSES, math.isqrt(pq)):
            if pq % small == 0:
                return min(small, pq // small), max(small, pq // small)
        found = _find_factor(pq)
        return min(found, pq // found), max(found, pq // found)


def _find_factor(number: int) -> int:
    """Return a factor of an odd composite number, by Pollard's rho."""
    steps = 0
    while steps < MAX_STEPS:
        add = random.randrange(1, number)
        slow = fast = random.randrange(number)
        found = 1
        while found == 1 and steps < MAX_STEPS:
            before, product = (slow, fast), 1
            for _ in range(STEPS_AT_ONCE):
                slow = (slow * slow + add) % number
                fast = (fast * fast + add) % number
                fast = (fast * fast + add) % number
                product = product * (slow - fast) % number
            steps += STEPS_AT_ONCE
            found = math.gcd(product, number)
        if found == number:  # both factors within the same steps: find the first of them
            slow, fast = before
            found = 1
            while found == 1:
                slow = (slow * slow + add) % number
                fast = (fast * fast + add) % number
                fast = (fast * fast + add) % number
                found = math.gcd(slow - fast, number)
        if 1 < found < number:
            return found
    raise SecurityError("Step 2 got a number that cannot be factorized")


_get_int: Callable[..., int] = authenticator.get_int


def bounded_int(data: bytes, signed: bool = True) -> int:
    """Return the number that bytes are. Raises ``SecurityError`` for more bytes than a key exchange can have."""
    if len(data) > MAX_NUMBER_BYTES:
        raise SecurityError(f"a number of the key exchange has {len(data):,} bytes")
    return _get_int(data, signed=signed)


_do_authentication: Callable[[Any], Awaitable[Any]] = authenticator.do_authentication


async def do_bounded_authentication(sender: Any) -> Any:
    """Exchange a key. Raises ``SecurityError`` for answers that make no sense, and what the connection raises."""
    try:
        return await _do_authentication(sender)
    except (OSError, EOFError, BufferError):
        raise
    except SecurityError as exc:
        raise SecurityError(str(exc)[:MAX_TEXT]) from None
    except AssertionError as exc:
        raise SecurityError(str(exc).partition(" was ")[0][:MAX_TEXT]) from None
    except Exception as exc:
        raise SecurityError(f"the key exchange makes no sense ({type(exc).__name__})") from None


def bound_key_exchange() -> None:
    """Have Telethon exchange keys within these bounds, in the whole process."""
    for name in ("Factorization", "get_int", "do_authentication"):
        assert hasattr(authenticator, name), name
    authenticator.Factorization = BoundedFactorization
    authenticator.get_int = bounded_int
    authenticator.do_authentication = do_bounded_authentication
