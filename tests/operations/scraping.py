"""What processes show as metrics."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families


def scrape(port: int) -> dict[str, dict[str, float]]:
    """The samples of a process by name, and by the values of their labels: sorted by the labels' names, with a comma
    between them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        text = response.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name.removeprefix("kernelport_"), {})[labels] = sample.value
    return found


def value(port: int, name: str, *labels: str) -> float | None:
    """A sample; None where it is not shown, or nobody shows any."""
    try:
        return scrape(port).get(name, {}).get(",".join(labels))
    except OSError:
        return None
