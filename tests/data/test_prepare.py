"""Preparing datasets: from small archives made here, over a server of this test's own.

The archives have CIFAR's layout and random images; no test goes beyond 127.0.0.1.
"""

import hashlib
import http.server
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing

from aaa_jax import data
from aaa_jax.data.prepare import cifar, download
from aaa_jax.data.prepare.preparers import PREPARERS, main, prepare_dataset
from tests.support import damage
from tests.support.small_runs import ROOT
from tests.support.tfds_folders import packed

COUNTS = {"train": 25, "test": 10}


def cifar_archive(name):
    """CIFAR's binary archive in small; its bytes, and {split: (images, labels)}."""
    random = np.random.default_rng(len(name))
    archive = cifar.ARCHIVES[name]
    num_classes = {"coarse_label": 20, "label": 100 if name == "cifar100" else 10}
    content, splits = {}, {}
    for split, count in COUNTS.items():
        images = random.integers(0, 256, (count, 32, 32, 3), np.uint8)
        labels = random.integers(0, num_classes["label"], count).astype(np.uint8)
        coarse = [(labels % 20)[:, None]] if name == "cifar100" else []
        planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
        rows = np.concatenate([*coarse, labels[:, None], planes], axis=1)
        splits[split] = images, labels
        files = archive.splits[split]
        for file, part in zip(files, np.split(rows, len(files)), strict=True):
            content[file] = part.tobytes()
    for label, file in archive.class_names.items():
        names = [f"{label}{k}" for k in range(num_classes[label])]
        content[file] = ("\n".join(names) + "\n\n").encode()
    files = {f"{archive.folder}/{file}": text for file, text in content.items()}
    return packed(files, "w:gz"), splits


@pytest.fixture
def served():
    """{path: bytes or function of the handler}, the URL they are served under, log."""
    content, log = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            log.append(self.path)
            answer = content.get(self.path)
            if answer is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            half = self.path in ("/cut", "/stall")
            self.wfile.write(answer[: len(answer) // 2 if half else None])
            if self.path == "/stall":
                time.sleep(1)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield content, f"http://127.0.0.1:{server.server_address[1]}", log
        server.shutdown()
        thread.join()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, capsys):
    """A limit of a file's size fails as a full disk does, within array_record's C++."""
    with damage.files_at_most(100_000):
        assert main(["digits", f"--data-dir={tmp_path}"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"digits cannot be written to {tmp_path} (" in said
    assert "File too large" in said
    assert "make room there, and the same command goes on" in said
    assert not list(tmp_path.rglob("*.part"))
    assert main(["digits", f"--data-dir={tmp_path}"]) == 0
    assert "1198 images of 10 classes (train)" in capsys.readouterr().out


def test_an_archive_that_is_not_there_is_said(tmp_path, capsys):
    for name in ("cifar10", "imagenet2012"):
        arguments = [name, f"--data-dir={tmp_path}", f"--archive={tmp_path}/none"]
        assert main(arguments) == 2
        assert f"there is no archive {tmp_path}/none" in capsys.readouterr().err


def state_archive(monkeypatch, name, url, content):
    sha256 = hashlib.sha256(content).hexdigest()
    archive = cifar.ARCHIVES[name]._replace(url=url, sha256=sha256, size=len(content))
    monkeypatch.setitem(cifar.ARCHIVES, name, archive)


@pytest.mark.parametrize("name", cifar.ARCHIVES)
def test_the_archives_are_those_that_tfds_verifies_and_reads(name, tmp_path):
    table = Path(tfds.__file__).parent / "url_checksums" / f"{name}.txt"
    url, size, sha256, _ = table.read_text().split("\t")
    archive = cifar.ARCHIVES[name]
    assert archive[:3] == (url, sha256, int(size))
    stock = tfds.builder(name, data_dir=tmp_path)._cifar_info
    assert f"{archive.folder}/" == stock.prefix
    assert archive.splits == {"train": stock.train_files, "test": stock.test_files}
    files = dict(zip(stock.label_keys, stock.label_files, strict=True))
    assert list(archive.class_names.items()) == list(files.items())  # order counts


@pytest.mark.parametrize("name", cifar.ARCHIVES)
def test_cifar_is_downloaded_once_and_read_by_us_and_by_stock_tfds(
    name, served, tmp_path, monkeypatch
):
    content, address, log = served
    archive, splits = cifar_archive(name)
    content["/a.tar.gz"] = archive
    state_archive(monkeypatch, name, f"{address}/a.tar.gz", archive)
    for split, (images, labels) in splits.items():
        ours = data.load(name, split, data_dir=tmp_path)
        assert ours.class_names[:2] == ("label0", "label1")
        stock = tfds.data_source(name, split=split, data_dir=tmp_path, download=False)
        places = []
        for i, example in enumerate(stock):
            place = int(example["id"].decode().removeprefix(f"{split}_"))
            np.testing.assert_array_equal(example["image"], images[place])
            np.testing.assert_array_equal(ours.images[i], images[place])
            assert example["label"] == ours.labels[i] == labels[place]
            if name == "cifar100":
                assert example["coarse_label"] == labels[place] % 20
            places.append(place)
        key_of = hashing.Hasher(split).hash_key  # the order of TFDS's own writer
        assert places == sorted(range(COUNTS[split]), key=key_of)
    assert log == ["/a.tar.gz"]


def test_an_archive_at_hand_is_used_from_the_command_line(
    tmp_path, monkeypatch, capsys
):
    archive, _ = cifar_archive("cifar10")
    state_archive(monkeypatch, "cifar10", "http://127.0.0.1:9/a.tar.gz", archive)
    (tmp_path / "mine.tar.gz").write_bytes(archive)
    arguments = [f"--data-dir={tmp_path}/out", f"--archive={tmp_path}/mine.tar.gz"]
    assert main(["cifar10", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        f"cifar10 is prepared in {tmp_path}/out/cifar10/3.0.2\n"
        "25 images of 10 classes (train)\n10 images of 10 classes (test)\n"
    )
    assert printed.err == f"preparing cifar10 in {tmp_path}/out\n"
    # Already there: no network is asked. The older spelling is still taken.
    assert main(["cifar10", f"--data_dir={tmp_path}/out"]) == 0


def test_an_archive_that_is_not_the_one_is_refused(tmp_path, monkeypatch, capsys):
    content, _ = cifar_archive("cifar10")
    state_archive(monkeypatch, "cifar10", "http://127.0.0.1:9/a.tar.gz", content)
    (tmp_path / "other").write_bytes(content[:-1])
    options = [f"--data-dir={tmp_path}/out", f"--archive={tmp_path}/other"]
    assert main(["cifar10", *options]) == 2
    sha256 = hashlib.sha256(content).hexdigest()
    said = capsys.readouterr().err
    assert f"({len(content) - 1} bytes), expected {sha256}" in said


@pytest.mark.parametrize(
    ("is_listening", "reason"),
    [(False, "cannot be fetched"), (True, "did not answer")],
)
def test_without_an_answer_what_to_run_is_said_at_once(
    is_listening, reason, tmp_path, monkeypatch
):
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(download, "STALL_SECONDS", 2.0)
    with socket.socket() as server:  # unless it listens, connections are refused
        server.bind(("127.0.0.1", 0))
        if is_listening:
            server.listen()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.tar.gz"
        state_archive(monkeypatch, "cifar10", url, b"")
        started = time.monotonic()
        with pytest.raises(data.DatasetNotPrepared, match=f"{url} {reason}") as raised:
            data.load("cifar10", "train", data_dir=tmp_path)
        assert time.monotonic() - started < 2
    message = str(raised.value)
    assert message.startswith(f"cifar10 is not prepared in {tmp_path}, and ")
    assert f"python -m aaa_jax prepare cifar10 --data-dir={tmp_path}\n" in message
    assert "TFDS_DATA_DIR" in message


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "HTTP Error 404"),
        ("/cut", "is not the expected file"),
        ("/wrong", "is not the expected file"),
        ("/stall", r"broke off after \d+ of \d+ bytes: timed out"),
    ],
)
def test_a_failed_download_leaves_nothing(path, reason, served, tmp_path, monkeypatch):
    content, address, _ = served
    archive, _ = cifar_archive("cifar10")
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    content.update({"/cut": archive, "/stall": archive, "/wrong": b"<html>moved"})
    state_archive(monkeypatch, "cifar10", address + path, archive)
    with pytest.raises(data.DatasetNotPrepared, match=reason):
        data.load("cifar10", "train", data_dir=tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("batches", "reason"),
    [(["test_batch"], "has no file .*/data_batch_1.bin"), (None, "of 3073 bytes")],
)
def test_an_archive_with_other_files_is_refused(batches, reason, tmp_path, monkeypatch):
    batches = batches or ["test_batch", *(f"data_batch_{k}" for k in range(1, 6))]
    files = {f"cifar-10-batches-bin/{batch}.bin": b"short" for batch in batches}
    names = "\n".join("abcdefghij")
    files["cifar-10-batches-bin/batches.meta.txt"] = names.encode()
    archive = packed(files, "w:gz")
    state_archive(monkeypatch, "cifar10", "http://127.0.0.1:9/a", archive)
    (tmp_path / "a").write_bytes(archive)
    with pytest.raises(data.DatasetError, match=reason):
        prepare_dataset("cifar10", data_dir=tmp_path, archive=tmp_path / "a")
    assert not list(tmp_path.glob("cifar10/*"))


def test_an_unknown_name_is_refused_with_a_near_one(tmp_path):
    for name, said in (("cifr10", ".*mean 'cifar10'"), ("qqqqq", ".* knows it$")):
        with pytest.raises(data.DatasetError, match=f"no dataset '{name}' {said}"):
            data.load(name, "train", data_dir=tmp_path)


def test_a_tfds_dataset_that_is_not_there_says_how_tfds_prepares_it(tmp_path):
    command = f"tfds build mnist --file_format=array_record --data_dir={tmp_path}"
    with pytest.raises(data.DatasetNotPrepared, match=command):
        data.describe("mnist", data_dir=tmp_path)
    config = tmp_path / "mnist" / "large" / "1.0.0"
    config.mkdir(parents=True)
    (config / "dataset_info.json").touch()
    with pytest.raises(data.DatasetNotPrepared, match="the configurations large"):
        data.load("mnist", "train", data_dir=tmp_path)


# ImageNet asks for its two archives first.
@pytest.mark.parametrize("name", sorted(set(PREPARERS) - {"imagenet2012"}))
def test_a_folder_that_cannot_be_written_is_named(name, tmp_path, served, monkeypatch):
    content, address, _ = served
    archive = content["/a"] = b"any"
    if name in cifar.ARCHIVES:
        state_archive(monkeypatch, name, f"{address}/a", archive)
    (tmp_path / "file").touch()
    message = f"cannot be written to {tmp_path}/file"
    with pytest.raises(data.DatasetError, match=message):
        data.load(name, "train", data_dir=tmp_path / "file")


def test_a_half_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "digits" / "1.0.0").mkdir(parents=True)
    with pytest.raises(data.DatasetError, match=r"1.0.0 is in the way .* delete it"):
        data.load("digits", "train", data_dir=tmp_path)


CHILD = """if True:
    import os, signal, sys
    from aaa_jax import data
    from aaa_jax.data.prepare import tfds_writer
    serialize, left = tfds_writer._serialize, [None] * 100

    def killed(*arguments):
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left.pop()
        return serialize(*arguments)

    tfds_writer._serialize = killed
    data.load("digits", "train", data_dir=sys.argv[1])
"""


def test_a_killed_preparation_leaves_nothing_that_counts(tmp_path):
    command = [sys.executable, "-c", CHILD, tmp_path]
    child = subprocess.run(command, cwd=ROOT, timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "digits" / "1.0.0").exists()
    assert list(tmp_path.glob("digits/*/*.part"))
    assert len(data.load("digits", "test", data_dir=tmp_path).labels) == 599
    kept = sorted(path.name for path in (tmp_path / "digits" / "1.0.0").iterdir())
    assert kept == [
        "dataset_info.json",
        "digits-test.array_record-00000-of-00001",
        "digits-train.array_record-00000-of-00001",
        "features.json",
        "label.labels.txt",
    ]
