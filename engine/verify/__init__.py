"""The exhaustive check of the machine."""

from engine.verify.explore import POLICIES, Explorer, VerificationReport, Violation, verify
from engine.verify.properties import ALWAYS

__all__ = ["ALWAYS", "POLICIES", "Explorer", "VerificationReport", "Violation", "verify"]
