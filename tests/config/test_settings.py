"""Settings come from the environment, and go there for child processes."""

from pathlib import Path

import pytest

from kernelport.config.settings import Settings, SettingsError


def test_what_is_written_for_a_child_is_what_it_reads() -> None:
    settings = Settings(custom_ops=True, max_answer_bytes=1000, log_format="json")
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_ANSWER_BYTES", "2GiB", "expected at most 2147483647 bytes, which is all that gRPC carries, got '2GiB'"),
        ("MAX_MESSAGE_BYTES", "lots", "expected a size"),
        ("MAX_MESSAGE_BYTES", "0", "expected at least 1 byte"),
        ("HEARTBEAT_TTL_S", "0", "expected seconds from 1 to 315,360,000, got '0'"),
        ("LEASE_S", "-1", "expected seconds from 0.1"),
        ("LEASE_S", "nan", "expected seconds from 0.1"),
        ("STOP_S", "soon", "expected seconds from 0 to"),
        ("JOB_RETENTION_S", "1e300", "expected seconds from 1 to"),
        ("RETENTION", "soon", "expected a duration such as 90s, 30m, 12h or 7d, up to ten years, got 'soon'"),
        ("KEEP_OUTPUTS", "0", "expected at least 1s, got '0'"),
        ("LOG_LEVEL", "WHAT", "expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'WHAT'"),
        ("LISTEN", "127.0.0.1:99999", "expected host:port with a port of at most 65535"),
        ("METRICS_LISTEN", "9464", "expected host:port"),
        ("REDIS_URL", "redis://:pa:secret/0", "expected a URL such as redis://127.0.0.1:6379/0"),
        ("ACCESS_LOG", "all", "expected a share from 0 to 1, got 'all'"),
        ("ACCESS_LOG", "1.5", "expected a share from 0 to 1, got '1.5'"),
        ("LOG_BYTES", "1KiB", "expected at least 65536 bytes, got '1KiB'"),
        ("CUSTOM_OPS", "yes", "expected 1 or 0, got 'yes'"),
    ],
)
def test_a_value_that_is_not_expected_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"KERNELPORT_{name}: {message}") as told:
        Settings.from_environment({f"KERNELPORT_{name}": value})
    assert "secret" not in str(told.value)


def test_values_are_taken_as_people_write_them() -> None:
    given = {"LOG_LEVEL": "debug", "LISTEN": "[::1]:0", "METRICS_LISTEN": ":9464", "STOP_S": "0", "LEASE_S": "1.5"}
    settings = Settings.from_environment({f"KERNELPORT_{name}": value for name, value in given.items()})
    assert (settings.log_level, settings.listen, settings.metrics_listen) == ("DEBUG", "[::1]:0", ":9464")
    assert (settings.stop_s, settings.lease_s) == (0, 1.5)


def test_outputs_go_below_the_state_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Settings().artifacts_url == str(tmp_path / "kernelport" / "artifacts")
    monkeypatch.setenv("KERNELPORT_STATE_DIR", str(tmp_path / "mine"))
    assert Settings().artifacts_url == str(tmp_path / "mine" / "artifacts")


def test_one_retention_goes_before_the_times_of_each_kind() -> None:
    alone = Settings.from_environment({"KERNELPORT_JOB_RETENTION_S": "60"})
    assert (alone.jobs_kept_s, alone.results_kept_s) == (60, 600)
    both = {"KERNELPORT_JOB_RETENTION_S": "60", "KERNELPORT_RETENTION": "2m", "KERNELPORT_KEEP_OUTPUTS": "30d"}
    settings = Settings.from_environment(both)
    assert (settings.jobs_kept_s, settings.results_kept_s, settings.keep_outputs) == (120, 120, 30 * 86400)
    assert Settings.from_environment(settings.to_environment()) == settings
