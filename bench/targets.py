"""What each case should reach, against the other libraries or against what the CPU can do.

A case reaches its target by one of two figures: the time of the fastest peer divided by ours, or the share
of the peak of fused multiply-adds. On a CPU on which a peer is near the peak, nobody can be far ahead of it.
And no peer may be faster, on any case.
"""

from __future__ import annotations

from dataclasses import dataclass

RATIOS = {
    "tiny": 2.5,
    "sk": 3.5,
    "mnist": 1.8,
    "mid": 1.7,
    "wide": 1.4,
    "narrow": 3.0,
    "online": 3.0,
    "w2500": 1.2,
    "cliff45": 2.5,
    "cliff46": 2.5,
    "control": 2.5,
}
SHARES = {
    "wide": 0.88,
    "w2500": 0.88,
    "broad": 0.88,
    "mid": 0.80,
    "mnist": 0.75,
    "sk": 0.60,
    "control": 0.60,
}


@dataclass(frozen=True)
class Verdict:
    """A case's figures, None where there is none, beside its targets."""

    ratio: float | None
    share: float | None
    wanted_ratio: float | None
    wanted_share: float | None

    @classmethod
    def of(cls, case: str, ratio: float | None, share: float | None) -> Verdict:
        """The figures of a case with its targets."""
        return cls(ratio, share, RATIOS.get(case), SHARES.get(case))

    @property
    def reached(self) -> str:
        """Which of the targets holds; a dash if there is none."""
        pairs = {"ratio": (self.ratio, self.wanted_ratio), "share": (self.share, self.wanted_share)}
        if all(wanted is None for _, wanted in pairs.values()):
            return "–"
        held = [
            name
            for name, (figure, wanted) in pairs.items()
            if figure is not None and wanted is not None and figure >= wanted
        ]
        return " and ".join(held) or "neither"

    @property
    def is_slower(self) -> bool:
        """Whether a peer is faster."""
        return self.ratio is not None and self.ratio < 1.0
