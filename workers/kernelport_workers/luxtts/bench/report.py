"""Measurements as tables."""

from __future__ import annotations

from collections.abc import Sequence

from kernelport_workers.luxtts.bench.measure import Mixed, Round, Row


def table(rows: Sequence[Row], matrix_flops: float) -> str:
    """Format measurements; the last columns compare with the plain path at batch 1 and with the arithmetic limit."""
    baseline = next((row.real_time_factor for row in rows if row.path == "plain" and row.batch == 1), None)
    lines = [
        f"{'path':<12} {'batch':>5} {'text s':>8} {'step s':>8} {'vocoder s':>9} {'total s':>8} {'RTF':>7} "
        f"{'audio s/s':>9} {'GiB':>6} {'vs plain':>8} {'of limit':>8}"
    ]
    for row in rows:
        gain = f"{baseline / row.real_time_factor:.2f}x" if baseline else "-"
        lines.append(
            f"{row.path:<12} {row.batch:>5} {row.text:>8.3f} {row.step:>8.4f} {row.vocoder:>9.3f} {row.total:>8.3f} "
            f"{row.real_time_factor:>7.4f} {1 / row.real_time_factor:>9.2f} {row.memory / 2**30:>6.2f} {gain:>8} "
            f"{row.flops / row.total / matrix_flops:>8.0%}"
        )
    return "\n".join(lines)


def limit(row: Row, matrix_flops: float, dtype: str) -> str:
    """The arithmetic of one second of audio, and what this machine could make of it."""
    flops = row.flops / row.audio_seconds
    return (
        f"limit: {flops / 1e9:.0f} GFLOP per second of audio; this machine multiplies {dtype} matrices at "
        f"{matrix_flops / 1e9:.0f} GFLOP/s, so at most {matrix_flops / flops:.2f} s of audio per second "
        f"(real-time factor {flops / matrix_flops:.4f}); int8 may pass that"
    )


def round_line(each: Round) -> str:
    """Format one call of items of mixed length."""
    return (
        f"  {each.items} items, {each.audio_seconds:.0f} s of audio in {each.seconds:.1f} s: real-time factor "
        f"{each.real_time_factor:.4f}, {each.ratio:.3f} of the best single item's {each.best:.4f}"
    )


def mixed_lines(mixed: Mixed) -> str:
    """Format the measurement of items of mixed length."""
    seconds, audio = sum(each.seconds for each in mixed.rounds), sum(each.audio_seconds for each in mixed.rounds)
    return (
        f"{mixed.path}, {sum(each.items for each in mixed.rounds)} items of mixed length ({mixed.mix}) in "
        f"{len(mixed.rounds)} call(s), {audio:.0f} s of audio in {seconds:.1f} s, {mixed.memory / 2**30:.2f} GiB:\n"
        f"  best single item  at {mixed.best_seconds:.1f} s of speech\n"
        f"  in calls          real-time factor {seconds / audio:.4f}, {mixed.ratio:.3f} of the best single item's "
        f"(median of calls), with {mixed.arithmetic:.2f} times the arithmetic per second of audio"
    )
