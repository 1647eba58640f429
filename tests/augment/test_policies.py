import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import ops, policies
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.policy_json import from_json, to_json


def some_policies(seed: int = 0, num_magnitudes: int = 10) -> Policies:
    rng = np.random.default_rng(seed)
    shape = (3, 5, 2)
    return Policies(
        ops=jnp.asarray(rng.integers(0, len(ops.OPS), shape), jnp.int32),
        magnitudes=jnp.asarray(rng.integers(0, num_magnitudes, shape), jnp.int32),
        probs=jnp.asarray(rng.choice([0.1, 0.7, 1.0], shape), jnp.float32),
    )


def a_record() -> dict:
    return to_json(some_policies(), ranges="monotone")


def test_sizes_are_those_of_the_arrays() -> None:
    some = some_policies()
    assert (some.num_policies, some.num_sub_policies, some.chain_length) == (3, 5, 2)


def test_the_search_space_has_the_papers_size() -> None:
    """Sec. 3.2: (16 * 10)^10, about 1.1e22."""
    assert policies.search_space_size() == 160**10
    assert 1.09e22 < policies.search_space_size() < 1.11e22
    assert policies.search_space_size(num_sub_policies=1) == (16 * 10) ** 2


def test_identity_policies_hold_the_identity_only() -> None:
    some = policies.identity_policies(8, num_sub_policies=3, chain_length=4)
    assert some.ops.shape == some.magnitudes.shape == some.probs.shape == (8, 3, 4)
    assert {ops.OPS[i].name for i in np.unique(some.ops)} == {"Identity"}
    assert policies.identity_policies(2).ops.shape == (2, 1, 2)


@pytest.mark.parametrize("as_text", [True, False])
def test_what_is_written_is_read_back(as_text: bool) -> None:
    some = some_policies(num_magnitudes=31)
    record = to_json(
        some, ranges="trivial_wide", order="policy_first", fill=(128, 0, 255)
    )
    text = json.dumps(record)
    saved = from_json(text if as_text else json.loads(text))
    assert saved[1:] == ("trivial_wide", "policy_first", (128, 0, 255))
    assert saved.policies.ranges == "trivial_wide"
    for field in ("ops", "magnitudes", "probs"):
        got, want = getattr(saved.policies, field), getattr(some, field)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


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


def test_other_keys_of_a_record_are_ignored() -> None:
    saved = from_json(a_record() | {"round": 3, "losses": [1.0, 2.0, 3.0]})
    assert saved.policies.num_policies == 3


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
    (key_becomes("ranges", ["wide"]), r"ranges \['wide'\]: a name of monotone, "),
    (key_becomes("order", "last"), r"'last': use one of standard_first, policy_first"),
    (key_becomes("order", ["a"]), r"\['a'\]: use one of standard_first, policy_first"),
    (key_becomes("fill", [1, 2]), r"\[1, 2\]: three integers from 0 to 255"),
    (key_becomes("fill", [1, 2, 256]), r"256\]: three integers from 0 to 255"),
    (key_becomes("fill", [1, 2, 0.5]), r"0.5\]: three integers from 0 to 255"),
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
    (entry_becomes("Rotate", -1, 1.0), r"magnitude -1 of Rotate must be .* 0 to 9"),
    (entry_becomes("Rotate", 2.5, 1.0), r"magnitude 2.5 of Rotate must be a whole"),
    (entry_becomes("Rotate", True, 1.0), r"magnitude True of Rotate must be a whole"),
    (entry_becomes("Rotate", 2, 1.5), r"probability 1.5 of Rotate .* from 0 to 1"),
    (entry_becomes("Rotate", 2, None), r"probability None of Rotate .* from 0 to 1"),
    (entry_becomes("Rotate", 2, float("nan")), r"probability nan of Rotate"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_RECORDS)
def test_a_wrong_record_is_refused_with_what_is_allowed(change, message) -> None:
    record = json.loads(json.dumps(a_record()))
    change(record)
    with pytest.raises(ValueError, match=message):
        from_json(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"not JSON .*: write them with to_json"),
        ("[1]", r"saved policies are list: a JSON object is needed"),
    ],
)
def test_a_text_that_is_no_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(text)


def test_what_cannot_be_read_back_is_not_written() -> None:
    some = some_policies(num_magnitudes=31)
    with pytest.raises(
        ValueError, match=r"magnitudes \(of monotone\) has .* 0 to 9 is"
    ):
        to_json(some, ranges="monotone")
    with pytest.raises(ValueError, match="unknown order 'later'"):
        to_json(some_policies(), ranges="monotone", order="later")
    with pytest.raises(ValueError, match="three integers"):
        to_json(some_policies(), ranges="monotone", fill=(1, 2, 3, 4))


def test_entries_are_checked_where_they_are_known() -> None:
    some = some_policies()
    policies.check_policies(some, "monotone")
    wrong = some.replace(ops=some.ops.at[2, 4, 1].set(17))
    message = r"policies.ops has 17 at \[2, 4, 1\]: from 0 to 16 is allowed"
    with pytest.raises(ValueError, match=message):
        policies.check_policies(wrong, "monotone")
    with pytest.raises(ValueError, match=r"policies.probs has nan"):
        policies.check_policies(some.replace(probs=some.probs * jnp.nan), "monotone")
    jax.jit(lambda p: policies.check_policies(p, "monotone"))(wrong)


def test_shapes_and_dtypes_are_checked() -> None:
    some = some_policies()
    for wrong, message in (
        (some.replace(ops=some.ops[0]), r"policies.ops \(5, 2\): an array \[M, Q, S\]"),
        (
            some.replace(magnitudes=some.magnitudes[:, :2]),
            r"magnitudes .* is int32 \[3, 2, 2\]: int32 \[3, 5, 2\] is needed",
        ),
        (
            some.replace(probs=some.ops),
            r"policies.probs is int32 \[3, 5, 2\]: float32 \[3, 5, 2\] is needed",
        ),
        (some.replace(ops=[[[0]]]), r"policies.ops \(\): an array \[M, Q, S\]"),
    ):
        with pytest.raises(ValueError, match=message):
            policies.check_policies(wrong, "monotone")
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), some)
    wide = wide.replace(ops=np.asarray(some.ops, np.int64), magnitudes=some.magnitudes)
    checked = policies.check_policies(wide, "release")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(checked)} == {
        "int32",
        "float32",
    }
    assert checked.ranges == "release"
    jax.tree.map(np.testing.assert_array_equal, checked, some.replace(ranges="release"))
