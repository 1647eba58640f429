"""Whatever comes in: the right answer or a named error, and never another exception.

Derandomized: every run of the suite tries the same examples.
"""

import ast
import functools
import json
import operator
import pathlib
import pickle
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aaa_jax.augment import large_batch, ops, policies, policy_json, standard
from aaa_jax.commands import train
from aaa_jax.experiments import config_rules
from aaa_jax.experiments.build import check_config
from aaa_jax.search import recorded_run, replay
from aaa_jax.workdir import checkpoints, run_directory, snapshots
from configs import digits

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICK = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORDS = st.sampled_from(
    ["", "step", "adversarial", "full", "alpha", "per_policy", "dataset", "monotone"]
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 8, 10, 100, 2**31, 2**64, 10**30, -1, -(2**70)]),
    st.integers(),
    st.sampled_from([0.0, 0.5, 1e-300, 1e300, float("nan"), float("inf")]),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=9))
# Of an object; ml_collections refuses a dot in a name before we see it.
NAMES = st.one_of(WORDS, st.text(st.characters(exclude_characters="."), max_size=5))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4),
    ),
    max_leaves=12,
)


REFUSALS = (ValueError, TypeError, AssertionError)  # chex's are AssertionErrors


def _refusal(kinds, function, *args):
    """The message of a refusal, or the result and None."""
    try:
        return function(*args), None
    except kinds as error:
        return None, str(error)


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(sorted(config_rules.RULES)), JSON, min_size=1, max_size=3
    )
)
def test_any_value_of_any_key_is_accepted_or_refused_by_name(values):
    config = digits.get_config()
    with config.unlocked(), config.ignore_type():
        for key, value in values.items():
            parent, _, name = key.rpartition(".")
            part = config[parent] if parent else config
            if name != "options" or isinstance(value, dict):
                part[name] = value
    _, refusal = _refusal(config_rules.ConfigError, check_config, config)
    assert refusal is None or (refusal and "\n" not in refusal)


VALID = policy_json.to_json(
    policies.identity_policies(2, num_sub_policies=2), ranges="monotone"
)


def _places(value, path=()) -> list[tuple]:
    """Every place in nested lists and objects, the whole included."""
    found = [path]
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            found += _places(inner, (*path, key))
    return found


def _with(value, path, new):
    """A copy with another value at a place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


def _read_policies(record) -> None:
    """Reads what may be policies; what is accepted must come back equal."""
    saved, refusal = _refusal(ValueError, policy_json.from_json, record)
    if refusal is not None:
        assert refusal
        return
    policies.check_policies(saved.policies, saved.ranges)
    again = policy_json.to_json(
        saved.policies,
        ranges=saved.ranges,
        order=saved.order,
        fill=saved.fill,
        alpha=saved.alpha,
        image_size=(5, 6),
    )
    reread = policy_json.from_json(json.dumps(again))
    jax.tree.map(np.testing.assert_array_equal, saved.policies, reread.policies)
    assert saved[1:] == reread[1:]


@QUICK
@given(st.sampled_from(_places(VALID)), JSON)
def test_any_value_at_any_place_of_saved_policies_is_read_or_refused(place, value):
    _read_policies(_with(VALID, place, value))


@QUICK
@given(st.data())
def test_any_text_in_place_of_saved_policies_is_read_or_refused(data):
    text = json.dumps(VALID)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    inserted = data.draw(st.text(alphabet='[]{}",:0123456789.eENa\\\x00 ', max_size=8))
    _read_policies(text[:begin] + inserted + text[end:])


@pytest.mark.parametrize(
    "text",
    ["[" * 10**5, '{"a":' * 10**5, "1" * 10**5, "", "\x00", pickle.dumps(1).hex()],
)
def test_text_that_breaks_parsers_is_refused_by_name(text):
    with pytest.raises(ValueError, match="saved policies"):
        policy_json.from_json(text)


@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_any_file_of_policies_is_read_or_refused_by_name(data, tmp_path_factory):
    place = data.draw(st.sampled_from(_places(VALID)))
    text = json.dumps(_with(VALID | {"alpha": False}, place, data.draw(JSON)))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(text))))
    path = tmp_path_factory.mktemp("policies") / "policies.json"
    path.write_text(text[:cut])
    read, refusal = _refusal(ValueError, policy_json.load_policies, str(path))
    if refusal is None:
        policies.check_policies(read.policies, read.ranges)
    else:
        assert str(path) in refusal
        assert "\n" not in refusal


# What a run records, of which anything may have become something else.
RECORDED = {
    "config.json": {
        "policies": {"source": "adversarial", "num_sub_policies": 2, "fill": "dataset"},
        "controller": {
            "hidden_size": 2,
            "embedding_size": 3,
            "tanh_constant": 0.0,
            "temperature": 1.0,
            "reset_per_sub_policy": False,
        },
    },
    "run.json": {"total_steps": 3, "steps_per_epoch": 3, "round_steps": 3, "data": {}},
    "policies.jsonl": VALID | {"step": 3, "round": 0, "losses": [1.0, 2.0]},
}


@settings(QUICK, max_examples=80)
@given(
    change=st.sampled_from(
        [(file, place) for file, text in RECORDED.items() for place in _places(text)]
    ),
    value=JSON,
    selection=st.sampled_from(replay.SELECTIONS),
)
def test_any_value_at_any_place_of_a_recorded_run_is_replayed_or_refused(
    change, value, selection, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("recorded")
    file, place = change
    for name, text in RECORDED.items():
        changed = _with(text, place, value) if name == file else text
        (directory / name).write_text(json.dumps(changed) + "\n")
    kernels = {"embedding": (26, 3), "lstm_kernel": (5, 8), "lstm_bias": (8,)}
    kernels |= {"op_kernel": (2, 16), "magnitude_kernel": (2, 10)}
    kernels |= {"op_bias": (16,), "magnitude_bias": (10,)}
    params = {name: np.zeros(shape, np.float32) for name, shape in kernels.items()}
    snapshots.save_snapshot(directory, 0, {"params": params})
    read = _refusal(ValueError, recorded_run.read_recording, str(directory))
    config = digits.get_config("transfer")
    config.policies.replay_run = str(directory)
    config.policies.replay_selection = selection
    _, refusal = _refusal(config_rules.ConfigError, check_config, config)
    if read[1] is None:
        assert read[0].losses.shape == read[0].saved.policies.ops.shape[:2]
        assert read[0].steps.shape == (1,)
    for message in (read[1], refusal):
        assert message is None or (str(directory) in message and "\n" not in message)
    recorded = functools.reduce(operator.getitem, place, RECORDED[file])
    if json.dumps(value) == json.dumps(recorded):
        assert refusal is None


def test_the_recorded_run_is_replayed_where_nothing_has_changed(tmp_path_factory):
    for selection in replay.SELECTIONS:
        test = test_any_value_at_any_place_of_a_recorded_run_is_replayed_or_refused
        change = "run.json", ("data",)
        test.hypothesis.inner_test(change, {}, selection, tmp_path_factory)


PRESET = (ROOT / "configs" / "digits.py").read_text()


@settings(QUICK, max_examples=40)
@given(data=st.data())
def test_any_config_file_is_read_or_refused_in_one_line(data, tmp_path_factory):
    begin = data.draw(st.integers(0, len(PRESET)))
    end = data.draw(st.integers(begin, min(begin + 40, len(PRESET))))
    inserted = data.draw(st.text(alphabet="abc.=()[]:'0123456789 \n\x00", max_size=6))
    path = tmp_path_factory.mktemp("configs") / "mine.py"
    path.write_text(PRESET[:begin] + inserted + PRESET[end:])
    arguments = [f"--config={path}", "--workdir=x"]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarnings of the mutated file
        patch.setattr(sys, "argv", [])
        command, refusal = _refusal(train.UsageError, train.parse, arguments)
    if refusal is None:
        _, refusal = _refusal(config_rules.ConfigError, check_config, command.config)
    assert refusal is None or (refusal and "\n" not in refusal.strip())


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal"}
FORBIDDEN_MODULES |= {"shelve", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def test_nothing_is_unpickled_and_no_text_is_run():
    sources = [*(ROOT / "aaa_jax").rglob("*.py"), ROOT / "launch.py"]
    for path in [*sources, *(ROOT / "configs").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
                assert not names & FORBIDDEN_MODULES, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in FORBIDDEN_MODULES, path
            elif isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name):
                    assert called.id not in FORBIDDEN_CALLS, (path, node.lineno)
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                if "allow_pickle" in given:
                    assert given["allow_pickle"].value is False, (path, node.lineno)


NUMBERED = st.integers(0, 9).map(lambda number: {"step": number})
LINES = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.one_of(JSON, NUMBERED).map(lambda value: json.dumps(value).encode()),
    ),
    max_size=4,
)
WRITTEN = [*(f"{name}.jsonl" for name in run_directory.FILES), "config.json", "lock"]


def _spoil(directory: pathlib.Path, name: str, content: bytes | None) -> None:
    path = directory / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


@settings(QUICK, max_examples=50)
@given(
    files=st.dictionaries(
        st.sampled_from(WRITTEN),
        st.one_of(
            st.none(),
            LINES.map(b"\n".join),
            LINES.map(lambda lines: b"".join(line + b"\n" for line in lines)),
        ),
        max_size=5,
    ),
    step=st.one_of(st.none(), st.integers(0, 9)),
)
def test_any_run_directory_is_used_or_refused_by_name(files, step, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    for name, content in files.items():
        _spoil(directory, name, content)
    read_lines = run_directory.read_lines
    readers = [functools.partial(read_lines, name=n) for n in run_directory.FILES]
    for read in (*readers, run_directory.read_config):
        _, refusal = _refusal(run_directory.RunDirectoryError, read, directory)
        assert refusal is None or str(directory) in refusal
    _, refusal = _refusal(run_directory.RunDirectoryError, _use, directory, step)
    if refusal is not None:
        assert str(directory) in refusal
        for name, content in files.items():
            if content is not None and name.endswith(".jsonl"):
                assert set((directory / name).read_bytes()) <= set(content)
        return
    lines = run_directory.read_lines(directory, "metrics")
    assert lines[-1] == {"step": 10, "loss": 1.0}
    last = -1 if step is None else step
    assert all(line["step"] <= last for line in lines[:-1])


def _use(directory: pathlib.Path, step: int | None) -> None:
    with run_directory.RunDirectory(directory, {"seed": 0}) as run:
        run.truncate_after(step)
        run.write_metrics(10, {"loss": 1.0})


CHECKPOINT_NAMES = st.one_of(
    st.sampled_from(["7", "007", "٣", "-1", "1.damaged-1", "3.orbax-checkpoint-tmp-0"]),
    st.text(alphabet="0123456789.٣x", min_size=1, max_size=4).filter(
        lambda name: set(name) != {"."}
    ),
)


@settings(QUICK, max_examples=10)
@given(names=st.dictionaries(CHECKPOINT_NAMES, st.booleans(), max_size=3))
def test_any_names_among_the_checkpoints_do_no_harm(names, tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    state = {"w": np.arange(3)}
    with checkpoints.Checkpoints(directory) as saved:
        saved.save(2, state)
    for name, is_directory in names.items():
        if name != "2":
            _spoil(directory, name, None if is_directory else b"{}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with checkpoints.Checkpoints(directory) as saved:
            step, restored = saved.restore_latest(state)
    assert step == 2
    np.testing.assert_array_equal(restored["w"], state["w"])


DTYPES = st.sampled_from([np.uint8, np.uint8, np.uint8, np.float32, np.int32, np.bool_])
SIZES = st.sampled_from([0, 1, 2, 3, 5, 8, 17, 32])
SHAPES = st.one_of(
    st.tuples(SIZES, SIZES, SIZES, st.just(3)),
    st.tuples(SIZES, SIZES, SIZES, st.just(3)),
    st.lists(SIZES, max_size=6).map(tuple),
)


MEAN = (0.5, 0.5, 0.5)


def _is_batch(shape, dtype) -> bool:
    return len(shape) == 4 and shape[3] == 3 and dtype == jnp.uint8


def _check(function, images, is_good, shape, dtype=jnp.uint8) -> None:
    """Good input gives that shape and type; an empty one may also be refused."""
    result, refusal = _refusal(REFUSALS, jax.eval_shape, function, images)
    if is_good and (result is not None or min(shape) > 0):
        assert refusal is None
        assert (result.shape, result.dtype) == (shape, dtype)
    else:
        assert refusal is not None


@settings(QUICK, max_examples=30)
@given(SHAPES, DTYPES)
def test_images_of_any_shape_and_type_are_augmented_or_refused(shape, dtype):
    images = jax.ShapeDtypeStruct(shape, dtype)
    two = policies.identity_policies(2)

    def standard_rows(images):
        return standard.standard_augment(jax.random.key(0), images)

    def large(images):
        return large_batch.large_batch(jax.random.key(0), images, two)

    def one_op_each(images):
        rows = jnp.zeros(shape[:1], jnp.int32)
        draws = large_batch.OpDraws(rows + 1, jnp.zeros((*shape[:1], 2), jnp.int32))
        return large_batch.apply_ops(images, rows, rows, draws, partners=images)

    is_batch = _is_batch(shape, dtype)
    for function in (standard_rows, one_op_each):
        _check(function, images, is_batch, shape)
    per_policy = len(shape) == 5 and shape[0] == 2 and _is_batch(shape[1:], dtype)
    expected = shape if per_policy else (2, *shape)
    _check(large, images, is_batch or per_policy, expected)


@settings(QUICK, max_examples=25)
@given(
    st.one_of(st.tuples(SIZES, SIZES, st.just(3)), SHAPES), DTYPES, st.integers(0, 16)
)
def test_an_op_takes_one_image_or_refuses_it(shape, dtype, op):
    image = jax.ShapeDtypeStruct(shape, dtype)
    row = ops.coefficients(ops.OPS[op].name, 1.0, 8, 8)

    def apply(image):
        fill = jnp.zeros(3, jnp.uint8)
        inputs = ops.Inputs(jnp.zeros(2, jnp.int32), image, fill)
        return ops.apply_op(image, jnp.int32(op), row, inputs)

    is_image = len(shape) == 3 and _is_batch((1, *shape), dtype)
    _check(apply, image, is_image, shape)


@QUICK
@given(SHAPES, DTYPES, st.integers(-1, 9))
def test_normalising_and_cutting_out_keep_the_shape_or_refuse(shape, dtype, size):
    images = jax.ShapeDtypeStruct(shape, dtype)
    normalize = functools.partial(standard.normalize, mean=MEAN, std=MEAN)
    is_normal = bool(shape) and shape[-1] == 3 and dtype == jnp.uint8
    _check(normalize, images, is_normal, shape, jnp.float32)
    floats = jax.ShapeDtypeStruct(shape, jnp.float32)
    centers = jnp.zeros((*shape[:1], 2), jnp.int32)
    cut_out = functools.partial(standard.fixed_cutout, centers=centers, size=size)
    can_be = len(shape) == 4 and size >= 0 and size % 2 == 0
    _check(cut_out, floats, can_be, shape, jnp.float32)
