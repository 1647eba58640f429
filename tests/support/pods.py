"""Starts the processes of one run on this machine, and makes sure that they end."""

import socket
import subprocess
import time

from tests.support import small_runs

# N = 16, M = 4 in groups of 8: eight groups, one for each of eight devices. Ten steps
# an epoch, a round of 3 steps, so that rounds cross epochs and checkpoints.
TINY = {
    "model.name": "tests.support.recorder:factory",
    "data.num_train_images": 160,
    "batch_size": 16,
    "batch_norm.group_size": 8,
    "policies.num_policies": 4,
    "policies.round_steps": 3,
    "epochs": 1,
    "evaluation.every_epochs": 1000,
    "evaluation.batch_size": 300,
    "checkpoint.every_steps": 2,
    "checkpoint.keep": 9,
}


class Pod:
    """Processes of one run; leaving it kills what is left of them.

    All get the arguments `more` of `launch.py`; `each` and `variables` are further ones
    and environment variables by the index of a process. `only` is the one that is
    started, None for all. A single process gets no flags of a pod.
    """

    def __init__(
        self,
        workdir,
        num_processes,
        num_devices,
        *more,
        each=None,
        variables=None,
        data_dir,
        cache,
        only=None,
    ):
        flags = (
            f"--xla_force_host_platform_device_count={num_devices}"
            # Compiled in a third of the time, to code of which nothing here depends.
            " --xla_backend_optimization_level=0"
            " --xla_llvm_disable_expensive_passes=true"
        )
        environment = {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
            "TFDS_DATA_DIR": str(data_dir),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        joining = [f"--coordinator=127.0.0.1:{free_port()}"]
        joining += [f"--num_processes={num_processes}"]
        self.processes = []
        for index in range(num_processes) if only is None else [only]:
            given = [*more, *(each or {}).get(index, [])]
            if num_processes > 1:
                given += [*joining, f"--process_id={index}"]
            own = environment | (variables or {}).get(index, {})
            started = small_runs.start(workdir, TINY, *given, environment=own)
            self.processes.append(started)

    def wait(self, seconds):
        """Exit codes and what was printed; kills all when time is over."""
        deadline = time.monotonic() + seconds
        printed = []
        for process in self.processes:
            try:
                left = max(deadline - time.monotonic(), 0.1)
                printed.append(process.communicate(timeout=left)[0])
            except subprocess.TimeoutExpired:
                self.kill()
                printed.append("TIMED OUT\n" + process.communicate()[0])
        return [process.returncode for process in self.processes], printed

    def wait_for(self, path, seconds=300):
        """Until a file or directory is there, while all processes run."""
        deadline = time.monotonic() + seconds
        while not path.exists():
            for process in self.processes:
                assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, f"no {path} in time"
            time.sleep(0.01)

    def kill(self):
        for process in self.processes:
            process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for process in self.processes:
            process.wait()
            process.stdout.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
