"""What `docs/memory.md` is made with: asked for and written right; nothing compiles."""

import pytest

from benchmarks import plans
from benchmarks.train_step import memory_plan

PLAN = (3 * 2**29, 61.2)


def test_a_preset_is_taken_as_it_is_or_with_passes_and_remat():
    _, config = memory_plan.read("imagenet_r50:16")
    assert (config.num_passes, config.model.options.get("remat", False)) == (16, False)
    row = memory_plan.row("imagenet_r50", config, *PLAN)
    assert row == "| `imagenet_r50` | 1024 | 16 |  | 1.5 | 61 |"
    _, config = memory_plan.read("imagenet_r50:32:remat")
    assert (config.num_passes, config.model.options.remat) == (32, True)
    assert "| 512 | 32 | yes |" in memory_plan.row("imagenet_r50", config, *PLAN)


def test_without_a_compiler_for_cuda_a_line_says_what_to_install(monkeypatch):
    def refuse(*names, **more):
        raise NotImplementedError("topology not implemented for cuda")

    monkeypatch.setattr(plans.topologies, "get_topology_desc", refuse)
    with (
        pytest.raises(SystemExit, match=r"pip install 'jax.cuda13.', a GPU is not"),
        plans.target(is_h100=True),
    ):
        pass
