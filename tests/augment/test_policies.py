import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import ops, policies
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.policy_json import from_json, to_json
from tests.oracles import pillow_ops

some_policies = functools.partial(
    pillow_ops.some_policies, (3, 5, 2), probs=(0.1, 0.7, 1)
)


def test_identity_policies_hold_the_identity_only() -> None:
    some = policies.identity_policies(8, num_sub_policies=3, chain_length=4)
    assert some.ops.shape == some.magnitudes.shape == some.probs.shape == (8, 3, 4)
    assert {ops.OPS[i].name for i in np.unique(some.ops)} == {"Identity"}
    assert policies.identity_policies(2).ops.shape == (2, 1, 2)


@pytest.mark.parametrize("read", [str, json.loads])
def test_what_is_written_is_read_back(read) -> None:
    """As text or as an object; other keys are ignored."""
    some = some_policies(num_magnitudes=31)
    how = {"ranges": "trivial_wide", "order": "policy_first", "fill": (128, 0, 255)}
    record = to_json(some, **how) | {"round": 3, "losses": [1.0, 2.0, 3.0]}
    saved = from_json(read(json.dumps(record)))
    assert saved[1:4] == tuple(how.values())
    jax.tree.map(
        np.testing.assert_array_equal,
        saved.policies,
        some.replace(ranges="trivial_wide"),
    )
    dtypes = [leaf.dtype.name for leaf in jax.tree.leaves(saved.policies)]
    assert dtypes == ["int32", "int32", "float32"]


def test_a_record_names_ops_and_writes_short_numbers() -> None:
    some = Policies(
        ops=jnp.array([[[4, 15]]], jnp.int32),
        magnitudes=jnp.array([[[7, 0]]], jnp.int32),
        probs=jnp.array([[[0.7, 1.0]]], jnp.float32),
    )
    record = to_json(some, ranges="release")
    assert record["policies"] == [[[["Rotate", 7, 0.7], ["SamplePairing", 0, 1.0]]]]
    assert record["ranges"] == "release"
    assert record["version"] == 1


def entry_becomes(*entry: object):
    def change(record: dict) -> None:
        record["policies"][1][2][0] = list(entry)

    return change


def key_becomes(key: str, value: object):
    def change(record: dict) -> None:
        record[key] = value

    return change


WRONG_RECORDS = [
    (lambda record: record.pop("fill"), r"lack fill: all of version, ranges, order"),
    (key_becomes("version", 2), r"version 2: this program reads version 1"),
    (key_becomes("ranges", "wide"), r"'wide': use one of monotone, monotone10, "),
    (key_becomes("ranges", ["wide"]), r"\['wide'\]: use one of monotone, "),
    (key_becomes("order", "last"), r"'last': use one of standard_first, policy_first"),
    (key_becomes("order", ["a"]), r"\['a'\]: use one of standard_first, policy_first"),
    (key_becomes("fill", [1, 2, True]), r"True\]: three integers from 0 to 255"),
    (key_becomes("fill", None), r"fill None: three integers from 0 to 255"),
    (key_becomes("policies", []), r"policies is \[\]: a list that is not empty"),
    (key_becomes("policies", "x"), r"policies is 'x': a list that is not empty"),
    (key_becomes("policies", [[]]), r"policy 0 is \[\]: a list that is not empty"),
    (key_becomes("policies", [[3]]), r"policy 0, sub-policy 0 is 3: a list that"),
    (
        lambda record: record["policies"][1].pop(),
        r"of sub-policies, \[4, 5\]: all must",
    ),
    (lambda record: record["policies"][1][2].pop(), r"numbers of ops, \[1, 2\]: all"),
    (
        entry_becomes("Blur", 3, 1.0),
        r"policy 1, sub-policy 2, op 0: unknown op 'Blur': use one of ShearX",
    ),
    (
        entry_becomes(["Blur"], 3, 1.0),
        r"op 0: unknown op \['Blur'\]: use one of ShearX",
    ),
    (entry_becomes("Rotate", 3), r"is \['Rotate', 3\]: \[name, magnitude, prob"),
    (entry_becomes("Rotate", 10, 1.0), r"magnitude 10 of Rotate must be .* 0 to 9"),
    (entry_becomes("Rotate", 2.5, 1.0), r"magnitude 2.5 of Rotate must be a whole"),
    (entry_becomes("Rotate", True, 1.0), r"magnitude True of Rotate must be a whole"),
    (entry_becomes("Rotate", 2, 1.5), r"probability 1.5 of Rotate .* from 0 to 1"),
    (entry_becomes("Rotate", 2, None), r"probability None of Rotate .* from 0 to 1"),
    (entry_becomes("Rotate", 2, float("nan")), r"probability nan of Rotate"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_RECORDS)
def test_a_wrong_record_is_refused_with_what_is_allowed(change, message) -> None:
    record = to_json(some_policies(), ranges="monotone")
    change(record)
    with pytest.raises(ValueError, match=message):
        from_json(record)


def test_a_text_that_is_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not JSON .*: write them with to_json"):
        from_json("{")
    with pytest.raises(ValueError, match=r"policies are list: a JSON object is needed"):
        from_json("[1]")


def test_what_cannot_be_read_back_is_not_written() -> None:
    for num_magnitudes, change, message in (
        (31, {}, r"magnitudes \(of monotone\) has .* 0 to 9 is"),
        (10, {"order": "later"}, "unknown order 'later'"),
        (10, {"fill": (1, 2, 3, 4)}, "three integers"),
    ):
        some = some_policies(num_magnitudes=num_magnitudes)
        with pytest.raises(ValueError, match=message):
            to_json(some, ranges="monotone", **change)


def test_wrong_arrays_are_refused() -> None:
    some = some_policies()
    wrong_entry = some.replace(ops=some.ops.at[2, 4, 1].set(17))
    for wrong, message in (
        (wrong_entry, r"policies.ops has 17 at \[2, 4, 1\]: from 0 to 16 is allowed"),
        (some.replace(probs=some.probs * jnp.nan), r"policies.probs has nan"),
        (some.replace(ops=some.ops[0]), r"policies.ops \(5, 2\): an array \[M, Q, S\]"),
        (some.replace(ops=[[[0]]]), r"policies.ops \(\): an array \[M, Q, S\]"),
        (
            some.replace(magnitudes=some.magnitudes[:, :2]),
            r"magnitudes .* is int32 \[3, 2, 2\]: int32 \[3, 5, 2\] is needed",
        ),
        (
            some.replace(probs=some.ops),
            r"policies.probs is int32 \[3, 5, 2\]: float32 \[3, 5, 2\] is needed",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            policies.check_policies(wrong, "monotone")
    # Entries are checked where they are known.
    jax.jit(lambda p: policies.check_policies(p, "monotone"))(wrong_entry)
