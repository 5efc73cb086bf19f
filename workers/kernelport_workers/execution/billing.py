"""What answers are billed by."""

from collections.abc import Mapping
from typing import Any

_NANO, _HOUR_S, _MICROSECONDS = 1e9, 3600.0, 1e6


def nano_dollars(used_us: float, price_per_hour: float) -> int:
    """What so much time of a worker costs, in billionths of a dollar."""
    return round(price_per_hour * _NANO * used_us / _MICROSECONDS / _HOUR_S)


def audio_us(outputs: Any) -> int:
    """Microseconds of the audio among outputs; 0 where there is none."""
    if not (isinstance(outputs, Mapping) and {"audio", "sample_rate"} <= outputs.keys()):
        return 0
    rate = int(outputs["sample_rate"].reshape(-1)[0])
    return round(outputs["audio"].size * _MICROSECONDS / rate) if rate > 0 else 0
