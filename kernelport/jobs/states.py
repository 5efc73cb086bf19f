"""The life of a job as one table: where it can be, and what each verb makes of it there.

The scripts in the folder `lua` go by this table, so do the errors of the calls that it refuses, and docs/jobs.md shows
it.
"""

from collections.abc import Mapping
from typing import Literal

from kernelport.counting import counted
from kernelport.errors import FailedPreconditionError

Stage = Literal["open", "sealed", "ending", "finishing", "succeeded", "stopped", "broken", "deleting", "gone"]
Verb = Literal[
    "submit",
    "add",
    "seal",
    "cancel",
    "deadline",
    "storage",
    "last item",
    "written",
    "resume",
    "replace",
    "delete",
    "expire",
    "swept",
]

STAGES: dict[Stage, str] = {
    "open": "pending or running, and takes further items",
    "sealed": "pending or running, with all of its items",
    "ending": "cancelled, expired or stopped by its storage: what runs stops, and nothing else is given out",
    "finishing": "nothing runs any more; its files are looked for, and its manifest is written",
    "succeeded": "over: every item succeeded, and its file was there",
    "stopped": "over: failed, cancelled or expired",
    "broken": "over like that before it was sealed: its submission broke off",
    "deleting": "its files are being deleted",
    "gone": "there is no such job",
}

VERBS: dict[Verb, str] = {
    "submit": "`SubmitJob` with its request id",
    "add": "`AddItems` with further items",
    "seal": "`AddItems` with `seal`",
    "cancel": "`CancelJob`",
    "deadline": "its deadline passes; or it is open and got no items for too long",
    "storage": "a worker cannot keep an output",
    "last item": "nothing runs any more, and nothing waits or may start",
    "written": "the manifest is written, or files are missing",
    "resume": "`ResumeJob`",
    "replace": "`ReplaceItems`",
    "delete": "`DeleteJob`",
    "expire": "its retention is over",
    "swept": "its files are gone",
}

STAYS = ""
_STAYS: dict[Stage, str] = {stage: STAYS for stage in STAGES if stage != "gone"}
_OVER: dict[Stage, str] = {"succeeded": "deleting", "stopped": "deleting", "broken": "deleting"}
_STOPPING: dict[Stage, str] = {**_STAYS, "open": "ending", "sealed": "ending"}

# Where each verb leads from each stage; from those that are not named it is refused, or cannot come about.
MOVES: dict[Verb, Mapping[Stage, str]] = {
    "submit": {**_STAYS, "deleting": "open, as another job", "gone": "open"},
    "add": {"open": STAYS},
    "seal": {
        "open": "sealed",
        "sealed": STAYS,
        "ending": STAYS,
        "finishing": STAYS,
        "succeeded": STAYS,
        "stopped": STAYS,
        "broken": "stopped, or finishing when every item succeeded",
    },
    "cancel": _STOPPING,
    "deadline": _STOPPING,
    "storage": _STOPPING,
    "last item": {"open": STAYS, "sealed": "finishing", "ending": "finishing"},
    "written": {"finishing": "succeeded, stopped or broken; sealed when files are to be made again"},
    "resume": {"stopped": "sealed"},
    "replace": {"stopped": "stopped, with other inputs"},
    "delete": {**_OVER, "deleting": STAYS},
    "expire": {**_STAYS, **_OVER},
    "swept": {"deleting": "gone"},
}

_ACTIVE = "the job is active: cancel it (kernelport jobs cancel {job}), and delete it once it is over"
_BROKEN = "seal it as it is (kernelport jobs seal {job}) and resume it, or delete it and submit all of its items again"
_BROKE_OFF = f"its submission broke off after {{items}}: {_BROKEN}"
_RESUMABLE = "expected a job that failed, was cancelled or expired; it is {state}"
_STOPPED = 'the job takes no more items: it is {state}: "{reason}"; '
# Why a verb is refused, and at a stage where that says more.
_REFUSALS: dict[Verb | tuple[Verb, Stage], str] = {
    "add": f"{_STOPPED}once it is over, {_BROKEN}",
    ("add", "sealed"): "the job is sealed: it takes no more items",
    ("add", "broken"): f"{_STOPPED}{_BROKEN}",
    "resume": f"{_RESUMABLE}, but not over yet",
    ("resume", "open"): "the job is open, with {items} so far: go on with its submission by the same request id, "
    "or seal it as it is (kernelport jobs seal {job})",
    ("resume", "sealed"): _RESUMABLE,
    ("resume", "succeeded"): _RESUMABLE,
    ("resume", "broken"): _BROKE_OFF,
    "replace": "the job is not over yet (kernelport jobs watch {job} waits for it): only then can items be replaced",
    ("replace", "succeeded"): _RESUMABLE,
    ("replace", "broken"): _BROKE_OFF,
    "delete": "the job is about to be over: delete it then (kernelport jobs watch {job} waits for it)",
    ("delete", "open"): _ACTIVE,
    ("delete", "sealed"): _ACTIVE,
}
_DELETING = "the job is being deleted"


def refusal(verb: Verb, stage: Stage, job: str, state: str, reason: str, items: int) -> FailedPreconditionError:
    """The error of a call that the table refuses: it says what works.

    Args:
        job: its id.
        state: as the contract has it, in small letters.
        reason: of the state.
        items: that it has.
    """
    text = _DELETING if stage == "deleting" else _REFUSALS.get((verb, stage)) or _REFUSALS[verb]
    return FailedPreconditionError(
        f"job_id: {text.format(job=job, state=state, reason=reason, items=counted(items, 'item'))}"
    )


def lua_moves() -> str:
    """A function for the scripts that makes the table: by verb and stage whether the verb changes something, nothing
    where it is refused. Most scripts need it seldom."""
    verbs = (
        f"[{verb!r}] = {{{', '.join(f'{stage} = {str(to != STAYS).lower()}' for stage, to in moves.items())}}}"
        for verb, moves in MOVES.items()
    )
    return f"local function moves() return {{{', '.join(verbs)}}} end"


def markdown() -> str:
    """For people: what stages and verbs there are, and the table: a row for each verb, a column for each stage."""
    lines = ["| stage | of a job that is |", "|---|---|"]
    lines += [f"| {stage} | {meaning} |" for stage, meaning in STAGES.items()]
    lines += ["", "| verb | what it is |", "|---|---|"]
    lines += [f"| {verb} | {meaning} |" for verb, meaning in VERBS.items()]
    lines += ["", f"| | {' | '.join(STAGES)} |", "|---" * (len(STAGES) + 1) + "|"]
    for verb, moves in MOVES.items():
        cells = ("·" if moves.get(stage) == STAYS else moves.get(stage, "-") for stage in STAGES)
        lines.append(f"| {verb} | {' | '.join(cells)} |")
    return "\n".join(lines)
