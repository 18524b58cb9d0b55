"""The exhaustive check of the machine."""

from engine.verify.explore import POLICIES, Explorer, Finding, Report, verify
from engine.verify.properties import ALWAYS

__all__ = ["ALWAYS", "POLICIES", "Explorer", "Finding", "Report", "verify"]
