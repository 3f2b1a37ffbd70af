"""A time limit: what of the recipe fits into it."""

from __future__ import annotations

from dataclasses import dataclass

#: Encodings are compared by so many folds.
FOLDS_IN_RACE = 2
#: Fewer epochs are worth less than fewer members.
_FEW_EPOCHS = 12
#: Part of the time that is planned for: estimates are rough, and other work goes on.
_PLANNED = 0.75


@dataclass(frozen=True)
class Plan:
    """How much is trained."""

    n_encodings: int
    n_members: int
    epochs: int


def planned(wanted: Plan, seconds_per_epoch: float, seconds_left: float, n_threads: int) -> Plan:
    """Return what fits into the time: fewer epochs, then no race, then fewer members, at least one epoch.

    The work is estimated from above, since a race may have fewer epochs than the members.

    Parameters
    ----------
    wanted : Plan
    seconds_per_epoch : float
        Of one member on one thread.
    seconds_left : float
    n_threads : int
        So many members are trained side by side.
    """
    epochs = 1
    plan = wanted
    for n_encodings, n_members in [
        (wanted.n_encodings, wanted.n_members),
        (1, wanted.n_members),
        (1, min(3, wanted.n_members)),
        (1, 1),
    ]:
        n_racing = min(FOLDS_IN_RACE, n_members)
        # The race, one more try on each of its folds, and the other members.
        rounds = -(-(n_encodings + 1) * n_racing // n_threads) + -(-(n_members - n_racing) // n_threads)
        epochs = int(_PLANNED * seconds_left / max(1e-9, rounds * seconds_per_epoch))
        plan = Plan(n_encodings, n_members, max(1, min(wanted.epochs, epochs)))
        if epochs >= min(wanted.epochs, _FEW_EPOCHS):
            break
    return plan
