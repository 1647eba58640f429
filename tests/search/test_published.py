import hashlib
import json

import pytest

from aaa_jax.augment import ops
from aaa_jax.search import published

# SHA-256 of the tables as JSON, from a transcription that others made and compared with
# the papers and two public repositories. It finds a slip of the hand here.
DIGESTS = {
    "cifar10": "8d7a8f78d8f7f075",
    "svhn": "8c811b0a6f933153",
    "imagenet": "c09957e9bfa254b7",
    "pba": "ce4cfbc86faa494f",
}


def digest(table):
    text = json.dumps(table, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", published.AUTOAUGMENT)
def test_autoaugments_policies_are_the_printed_ones(name):
    assert digest(published.AUTOAUGMENT[name]) == DIGESTS[name]


def test_the_fourteen_ops_are_the_search_spaces_without_three_and_with_identity():
    search = {op.name for op in ops.OPS}
    assert set(published.FOURTEEN_OPS) == search - {"Invert", "Cutout", "SamplePairing"}
    assert len(published.FOURTEEN_OPS) == 14


def test_pbas_schedule_is_the_published_one():
    schedule = published.pba_cifar()
    numbers = [
        [epochs, [n for _, prob, m in part for n in (round(10 * prob), m)]]
        for epochs, part in schedule
    ]
    assert digest(numbers) == DIGESTS["pba"]
    assert sum(published.PBA_NUM_OPS_PROBS) == 1
