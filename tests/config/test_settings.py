"""Settings come from the environment, and go there for child processes."""

import pytest

from kernelport.settings import Settings, SettingsError


def test_what_is_written_for_a_child_is_what_it_reads() -> None:
    settings = Settings(custom_ops=True, max_answer_bytes=1000, log_format="json")
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_ANSWER_BYTES", "2GiB", "expected at most 2147483647 bytes, which is all that gRPC carries, got '2GiB'"),
        ("MAX_MESSAGE_BYTES", "lots", "expected a size"),
        ("CUSTOM_OPS", "yes", "expected 1 or 0, got 'yes'"),
    ],
)
def test_a_value_that_is_not_expected_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"KERNELPORT_{name}: {message}"):
        Settings.from_environment({f"KERNELPORT_{name}": value})
