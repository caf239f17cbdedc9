"""Tick spacing on time axes."""

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def tick_spacing_s(duration_s: float, max_ticks: int) -> float:
    """Return the tick spacing in seconds that divides a duration into at most ``max_ticks`` parts.

    The spacing is a round number, except for durations of more than ``max_ticks`` hours.
    """
    spacing_s = duration_s / max_ticks
    return next((step for step in _STEPS_S if step >= spacing_s), spacing_s)
