"""Starts the processes of one run on this machine, and makes sure that they end."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# N = 16, M = 4 in groups of 8: eight groups, one for each of eight devices. Ten steps
# an epoch, a round of 3 steps, so that rounds cross epochs and checkpoints.
TINY = {
    "model.name": "tests.support.recorder:factory",
    "model.options": "{}",
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

    Args:
        workdir: of the run.
        num_processes: how many; one is started without the flags of a pod.
        num_devices: virtual ones, of each process.
        more: arguments of `launch.py` for all.
        each: further arguments of one process, by its index.
        variables: further environment variables of one process, by its index.
        data_dir: of the prepared digits.
        cache: of compiled programs.
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
        port=None,
        only=None,
    ):
        values = [f"--config.{key}={value}" for key, value in TINY.items()]
        command = [sys.executable, "launch.py", "--config=configs/digits.py"]
        command += [f"--workdir={workdir}", *values, *more]
        flags = (
            f"--xla_force_host_platform_device_count={num_devices}"
            # Compiled in a third of the time, to code of which nothing here depends.
            " --xla_backend_optimization_level=0"
            " --xla_llvm_disable_expensive_passes=true"
        )
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
            "PYTHONPATH": str(ROOT),
            "TFDS_DATA_DIR": str(data_dir),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        port = port or free_port()
        self.processes = []
        for index in range(num_processes) if only is None else [only]:
            joining = [
                f"--coordinator=127.0.0.1:{port}",
                f"--num_processes={num_processes}",
                f"--process_id={index}",
            ]
            self.processes.append(
                subprocess.Popen(
                    command
                    + (joining if num_processes > 1 else [])
                    + list((each or {}).get(index, [])),
                    cwd=ROOT,
                    env=environment | (variables or {}).get(index, {}),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )

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
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)

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
