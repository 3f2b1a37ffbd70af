"""A time limit, and the part of the recipe that fits into it."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Encodings are compared by so many folds.
FOLDS_IN_RACE = 2
#: Fewer epochs are worth less than fewer members.
_FEW_EPOCHS = 12
_SMALLEST_PART = 0.01
#: Part of the time that is planned for: estimates are rough, and other work goes on.
_PLANNED = 0.75


@dataclass(frozen=True)
class Plan:
    """How much is trained."""

    n_encodings: int
    n_members: int
    epochs: int
    #: Part of the rows that an epoch takes.
    part: float = 1.0
    #: Tries on each fold of the race, of depth and of the winner.
    n_tries: int = 1


def planned(wanted: Plan, seconds_per_epoch: float, seconds_left: float, n_threads: int) -> Plan:
    """Return the plan that fits the time: fewer epochs, then no race, fewer members, and parts of epochs.

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
    few = min(wanted.epochs, _FEW_EPOCHS)
    epochs, plan = 0.0, wanted
    for n_encodings, n_members in [
        (wanted.n_encodings, wanted.n_members),
        (1, wanted.n_members),
        (1, min(3, wanted.n_members)),
        (1, 1),
    ]:
        n_racing = min(FOLDS_IN_RACE, n_members)
        # The race, the tries on its folds, and the other members.
        rounds = -(-(n_encodings + wanted.n_tries) * n_racing // n_threads) + -(
            -(n_members - n_racing) // n_threads
        )
        epochs = _PLANNED * seconds_left / max(1e-9, rounds * seconds_per_epoch)
        epochs_of_each = min(wanted.epochs, int(max(few, epochs)))
        plan = replace(wanted, n_encodings=n_encodings, n_members=n_members, epochs=epochs_of_each)
        if epochs >= few:
            return plan
    return replace(plan, part=max(_SMALLEST_PART, epochs / few))
