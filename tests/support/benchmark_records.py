"""What the record of a benchmark says of itself, for tests of its page."""

PLACE = {
    "command": "python -m benchmarks.some --quick",
    "load_average": 0.0,
    "machine": {
        "device": "d",
        "cpu": "c",
        "cores": "1",
        "os": "o",
        "commit": "abc",
        "slug": "cpu-c",
    },
    "versions": {"jax": "9"},
}
