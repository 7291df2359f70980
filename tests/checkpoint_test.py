"""Checkpoints: what is read is what was written, or an error that names the file."""

import errno
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from bottleneck import atomic, checkpoint, seal
from bottleneck.errors import UserError

TREE = {
    "params": {"layer": {"kernel": np.arange(600, dtype=np.float32).reshape(20, 30), "bias": np.zeros(3, np.float32)}},
    "step": np.int32(7),
    "half": jnp.arange(4, dtype=jnp.bfloat16),
    "seed": np.array([1, 2], np.uint32),
}


def save(path, tree=TREE, **meta):
    writer = checkpoint.Writer()
    writer.save(path, tree, **meta)
    writer.close()


@pytest.fixture
def saved(tmp_path):
    save(tmp_path / "5", step=5)
    return tmp_path / "5"


def test_round_trip(saved, same):
    found = checkpoint.load(saved)
    same(found, jax.tree.map(np.asarray, TREE))
    assert checkpoint.verify(saved)["step"] == 5 and checkpoint.is_sealed(saved)


def test_one_flipped_bit_in_any_file_is_found_and_named(saved):
    files = sorted(p for p in saved.rglob("*") if p.is_file())
    assert len(files) > 3 and saved / checkpoint.MANIFEST in files
    rng = np.random.default_rng(0)
    for file in files:
        whole = file.read_bytes()
        for position in [0, len(whole) - 1, *rng.integers(0, len(whole), 10)] if whole else ():
            data = bytearray(whole)
            data[position] ^= 1 << rng.integers(8)
            file.write_bytes(bytes(data))
            with pytest.raises(checkpoint.Damaged) as error:
                checkpoint.load(saved)
            assert error.value.file == str(file.relative_to(saved)) and error.value.path == saved
            assert str(saved) in str(error.value) and error.value.file in str(error.value)
        file.write_bytes(whole)
    checkpoint.load(saved)


def test_missing_truncated_and_added_files_are_named(saved):
    file = max((p for p in saved.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    whole, name = file.read_bytes(), str(file.relative_to(saved))
    for damage in (lambda: file.write_bytes(whole[:-1]), file.unlink):
        damage()
        with pytest.raises(checkpoint.Damaged, match=name):
            checkpoint.verify(saved)
    file.write_bytes(whole)
    (saved / "more").write_text("x")
    with pytest.raises(checkpoint.Damaged, match="more"):
        checkpoint.verify(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {}}', "3"])
def test_manifest_that_is_none(text, saved):
    (saved / checkpoint.MANIFEST).write_text(text)
    with pytest.raises(checkpoint.Damaged, match=checkpoint.MANIFEST):
        checkpoint.load(saved)


def test_sealed_when_the_next_one_starts_or_on_wait(tmp_path):
    writer = checkpoint.Writer()
    writer.save(tmp_path / "1", TREE)
    assert checkpoint.steps(tmp_path) == []
    writer.save(tmp_path / "2", TREE)
    assert checkpoint.steps(tmp_path) == [1]
    writer.wait()
    assert checkpoint.steps(tmp_path) == [1, 2]
    writer.save(tmp_path / "10", TREE)
    writer.close()
    assert checkpoint.steps(tmp_path) == [1, 2, 10]


def test_saving_replaces(saved):
    save(saved, {"a": np.ones(2, np.float32)}, step=6)
    assert checkpoint.load(saved).keys() == {"a"} and checkpoint.verify(saved)["step"] == 6


def test_what_is_saved_is_the_value_at_the_time_of_saving(tmp_path):
    """Training goes on, in place, while the writer works."""
    step = jax.jit(lambda x: x * 2 + 1, donate_argnums=0)
    writer, x = checkpoint.Writer(), jnp.arange(2**18, dtype=jnp.float32)
    expected = []
    for i in range(4):
        expected.append(np.array(x))
        writer.save(tmp_path / str(i), {"x": x if i % 2 else np.asarray(x)})
        for _ in range(3):
            x = step(x)
    writer.close()
    for i in range(4):
        np.testing.assert_array_equal(checkpoint.load(tmp_path / str(i))["x"], expected[i])


def test_interrupted_writes_are_removed_and_others_stay(saved):
    for name in ("6", "7.orbax-checkpoint-tmp"):
        (saved.parent / name).mkdir()
        (saved.parent / name / "part").write_text("x")
    (saved.parent / "note.txt").write_text("kept")
    assert checkpoint.steps(saved.parent) == [5]
    checkpoint.remove_partial(saved.parent)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["5", "note.txt"]


def test_removing_unseals_first(saved, monkeypatch):
    """A kill amid the removal leaves an interrupted write, not a damaged checkpoint."""
    monkeypatch.setattr(checkpoint.shutil, "rmtree", lambda path: None)
    checkpoint.remove(saved)
    assert saved.exists() and not checkpoint.is_sealed(saved)
    checkpoint.remove(saved.parent / "absent")


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def seal_by_hand(path, manifest):
    text = json.dumps({**manifest, "seal": seal.digest_of(manifest)})
    (path / checkpoint.MANIFEST).write_text(text)


def test_a_seal_of_nothing_is_damaged(saved):
    """What a full disk once left: a valid manifest of no files."""
    for file in saved.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    seal_by_hand(saved, {"files": {}, "step": 5})
    for read in (checkpoint.verify, checkpoint.load):
        with pytest.raises(checkpoint.Damaged, match="manifest.json lists no files"):
            read(saved)
    assert checkpoint.steps(saved.parent) == []
    assert [error.path for error in checkpoint.damaged(saved.parent)] == [saved]


@pytest.mark.parametrize("text", ["{", "{}", None])
def test_a_seal_of_what_holds_no_tree_is_damaged(text, saved):
    """The bytes are those sealed, but there is nothing to be read from them."""
    (saved / "_METADATA").unlink() if text is None else (saved / "_METADATA").write_text(text)
    seal_by_hand(saved, {"files": seal.digests(saved)})
    with pytest.raises(checkpoint.Damaged, match="_METADATA describes no tree"):
        checkpoint.load(saved)
    assert len(checkpoint.damaged(saved.parent)) == 1


def test_a_seal_of_arrays_that_cannot_be_read_is_damaged(saved):
    for file in saved.glob("**/d/*"):
        file.write_bytes(b"")
    seal_by_hand(saved, {"files": seal.digests(saved)})
    with pytest.raises(checkpoint.Damaged, match="_METADATA describes"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda tree: {**tree, "step": np.int32(8)}, "'step'.* not read back as it was saved"),
        (lambda tree: {**tree, "step": np.int64(7)}, "'step'.* not read back"),
        (lambda tree: {**tree, "half": -tree["half"]}, "'half'.* not read back"),
        (lambda tree: {k: v for k, v in tree.items() if k != "step"}, "another tree"),
    ],
)
def test_what_is_not_read_back_as_it_was_saved_is_never_sealed(spoil, said, tmp_path, monkeypatch):
    read = checkpoint._read
    monkeypatch.setattr(checkpoint, "_read", lambda path: spoil(read(path)))
    writer = checkpoint.Writer()
    writer.save(tmp_path / "5", TREE)
    with pytest.raises(checkpoint.Damaged, match=said):
        writer.wait()
    writer.close()
    assert list(tmp_path.iterdir()) == []


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    ValueError("RESOURCE_EXHAUSTED: Failed to write 456 bytes: No space left on device [os_error_code='28']"),
]


@pytest.mark.parametrize("error", FULL, ids=["space", "quota", "tensorstore"])
@pytest.mark.parametrize("call", ["save", "wait_until_finished"])
def test_a_save_that_finds_the_disk_full_is_said_in_a_line_and_never_sealed(call, error, tmp_path, monkeypatch):
    writer = checkpoint.Writer()
    (tmp_path / "5.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "5").mkdir()  # half written
    monkeypatch.setattr(checkpoint.ocp.AsyncCheckpointer, call, failing(error))
    with pytest.raises(checkpoint.Full, match=f"^disk='{tmp_path}/5': expected space.* MiB are free") as raised:
        writer.save(tmp_path / "5", TREE)
        writer.wait()
    assert isinstance(raised.value, UserError) and "\n" not in str(raised.value)
    monkeypatch.undo()
    writer.close()  # once this sealed what was there
    assert list(tmp_path.iterdir()) == []


def test_other_failures_of_a_save_pass_and_are_never_sealed(tmp_path, monkeypatch):
    writer = checkpoint.Writer()
    writer.save(tmp_path / "5", TREE)
    writer._orbax.wait_until_finished()
    broken = failing(OSError(errno.EIO, "input/output error"))
    monkeypatch.setattr(checkpoint.ocp.AsyncCheckpointer, "wait_until_finished", broken)
    with pytest.raises(OSError, match="input/output error"):
        writer.wait()
    monkeypatch.undo()
    writer.close()
    assert checkpoint.steps(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_atomic_write_leaves_the_old_bytes_and_no_temporary_when_it_fails(call, tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic.write(path, "old")
    monkeypatch.setattr(atomic.os, call, failing(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        atomic.write(path, b"new and longer")
    monkeypatch.setattr(atomic.os, call, failing(OSError(errno.ENOSPC, "full")))
    with pytest.raises(atomic.Full, match=f"^disk='{path}': expected space"):
        atomic.write(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_recognised_through_causes():
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise ValueError("cannot save") from error
    except ValueError as error:
        assert atomic.is_full(error)
    assert not atomic.is_full(ValueError("RESOURCE_EXHAUSTED: out of memory on the device"))


def test_append_adds_whole_lines(tmp_path):
    for line in ("a", "b"):
        atomic.append(tmp_path / "log", line)
    assert (tmp_path / "log").read_text() == "a\nb\n"


CHILD = """
import sys, pathlib, numpy as np, jax, orbax.checkpoint as ocp
from bottleneck import checkpoint
from bottleneck.training import mesh
assert jax.device_count() == 4
for name in ("a", "b"):
    tree = checkpoint.load(pathlib.Path(sys.argv[1]) / name) if name == "a" else mesh.replicate(tree, mesh.make(4))
    writer = checkpoint.Writer(); writer.save(pathlib.Path(sys.argv[1]) / "b", tree); writer.close()
rows = jax.sharding.NamedSharding(jax.make_mesh((4,), ("x",)), jax.sharding.PartitionSpec("x"))
with ocp.StandardCheckpointer() as writer:
    writer.save(pathlib.Path(sys.argv[1]) / "c", {"kernel": jax.device_put(tree["params"]["layer"]["kernel"], rows)})
"""


def test_loads_on_another_number_of_devices(tmp_path, monkeypatch, same):
    """Written by one device, read and written by four, read by one."""
    assert jax.device_count() == 1
    save(tmp_path / "a")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "4")
    subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], check=True, timeout=120)
    same(checkpoint.load(tmp_path / "b"), checkpoint.load(tmp_path / "a"))
    found = checkpoint.foreign(tmp_path / "c")["params"]["kernel"]  # a stranger's, a quarter on each device
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, TREE["params"]["layer"]["kernel"])


def test_manifest_lists_every_file(saved):
    listed = json.loads((saved / checkpoint.MANIFEST).read_text())["files"]
    assert {saved / name for name in listed} == {p for p in saved.rglob("*") if p.is_file()} - {
        saved / checkpoint.MANIFEST
    }
    assert all(isinstance(pathlib.Path(name), pathlib.Path) and len(digest) == 64 for name, digest in listed.items())


PARAMS, STATISTICS = {"dense": {"kernel": np.ones((3, 2), np.float32)}}, {"norm": {"mean": np.zeros(2, np.float32)}}
STATE = {
    "step": np.int32(7),
    "params": PARAMS,
    "batch_stats": STATISTICS,
    "opt_state": [{"mu": PARAMS, "params": PARAMS}],
}


def strange(path, tree, **options):
    """A checkpoint that was not written here."""
    with ocp.PyTreeCheckpointer(**options) as writer:
        writer.save(path, tree)
    return path


@pytest.mark.parametrize(
    "tree",
    [
        STATE,
        {"model": STATE, "config": {"name": "text", "params": 3}},
        {"params": STATE, "step": 3},
        {"a": {"b": {"c": STATE}}},
    ],
    ids=["state", "inside", "params are variables", "deep"],
)
def test_variables_of_strangers_are_found(tree, tmp_path, same):
    same(checkpoint.foreign(strange(tmp_path / "x", tree)), {"params": PARAMS, "batch_stats": STATISTICS})


def test_bare_parameters_of_strangers(tmp_path, same):
    same(checkpoint.foreign(strange(tmp_path / "x", PARAMS)), {"params": PARAMS})


def test_only_what_is_needed_is_read(tmp_path, same):
    """The optimiser's arrays are spoilt: reading them would raise."""
    path = strange(tmp_path / "x", STATE, use_ocdbt=False)
    for file in path.glob("opt_state*/*"):
        if file.name != ".zarray":
            file.write_bytes(b"spoilt")
    same(checkpoint.foreign(path), {"params": PARAMS, "batch_stats": STATISTICS})


def test_places_may_be_given(tmp_path, same):
    path = strange(tmp_path / "x", {"student": STATE, "teacher": {"ema": {"weights": STATISTICS}}})
    same(checkpoint.foreign(path, {"params": "teacher/ema/weights"}), {"params": STATISTICS})
    found = checkpoint.foreign(path, {"params": "teacher/ema/weights", "batch_stats": "student/batch_stats"})
    same(found, {"params": STATISTICS, "batch_stats": STATISTICS})
    for place in ("teacher/params", "student/step/more"):
        with pytest.raises(UserError, match=f"^checkpoint=.*a tree at '{place}'; at the top it has student, teacher"):
            checkpoint.foreign(path, {"params": place})


def test_of_several_trees_one_must_be_named(tmp_path):
    path = strange(tmp_path / "x", {"generator": STATE, "critic": STATE})
    with pytest.raises(
        UserError, match="^checkpoint=.*`where` the parameters are: under (critic, generator|generator, critic)"
    ):
        checkpoint.foreign(path)


def test_what_holds_no_tree_or_several_names_those_below(tmp_path):
    for place in ("run/7/default", "run/9/default", "step/params", "step/statistics"):
        strange(tmp_path / place, PARAMS)
    for path, said in (
        ("run", "below it are 7/default, 9/default"),
        ("step", "below it are params, statistics"),
        ("none", "a directory of one tree saved by Orbax"),
    ):
        with pytest.raises(UserError, match=f"^checkpoint=.*{said}"):
            checkpoint.foreign(tmp_path / path)
    assert checkpoint.foreign(tmp_path / "run" / "7").keys() == {"params"}


@pytest.mark.parametrize("damage", ["metadata", "arrays"])
def test_what_orbax_cannot_read_is_the_users_to_mend(damage, tmp_path):
    path = strange(tmp_path / "x", STATE)
    if damage == "metadata":
        (path / "_METADATA").write_text("{")
    else:
        for file in path.glob("**/d/*"):
            file.write_bytes(b"")
    with pytest.raises(UserError, match="^checkpoint=.*what Orbax can read"):
        checkpoint.foreign(path)
