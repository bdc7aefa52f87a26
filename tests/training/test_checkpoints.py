"""Checkpoints are read as data: what would run code when loaded is refused before it does."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.checkpoints import read_checkpoint

CONTENT = {
    "network_weights": {"layer.weight": torch.arange(6.0).reshape(2, 3)},
    "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-4}]},
    "logging": {"val_losses": [np.float32(0.5), np.float64(0.25)], "epoch": [np.int64(3), np.bool_(True)]},
    "init_args": {"configuration": "3d_chordoma", "fold": 0, "device": torch.device("cpu")},
    "trainer_name": "ChordomaTrainerCE",
    "inference_allowed_mirroring_axes": (0, 2),
}


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint_final.pth"


def test_what_nnunet_stores_is_read(path):
    torch.save(CONTENT, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.trainer, checkpoint.configuration) == ("ChordomaTrainerCE", "3d_chordoma")
    assert checkpoint.mirror_axes == (0, 2)
    assert torch.equal(checkpoint.weights["layer.weight"], CONTENT["network_weights"]["layer.weight"])


def test_numbers_of_numpy_1_are_read(path, tmp_path):
    torch.save(CONTENT, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(path, "w") as old:
        assert any(b"numpy._core" in new.read(name) for name in new.namelist())
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_checkpoint(path).trainer == "ChordomaTrainerCE"


@pytest.mark.parametrize("place", ["network_weights", "optimizer_state", "logging", "init_args", "extra"])
def test_a_payload_does_not_run(path, tmp_path, place):
    executed = tmp_path / "executed"
    torch.save(CONTENT | {place: {"payload": Payload(executed)}}, path)
    with pytest.raises(ChordomaError, match=r"checkpoint_final\.pth: refused.*'(posix|nt)\.system'") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not executed.exists()
    # The same file run by the loader that trusts it, or the test would prove nothing.
    torch.load(path, weights_only=False)
    assert executed.exists()


def test_a_bare_pickle_does_not_run(path, tmp_path):
    executed = tmp_path / "executed"
    path.write_bytes(pickle.dumps(Payload(executed)))
    with pytest.raises(ChordomaError, match=r"checkpoint_final\.pth"):
        read_checkpoint(path)
    assert not executed.exists()


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_checkpoints(path, keep):
    torch.save(CONTENT, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ChordomaError, match="damaged or not a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("missing", ["network_weights", "init_args", "trainer_name"])
def test_other_files_of_torch_are_named(path, missing):
    torch.save({key: value for key, value in CONTENT.items() if key != missing}, path)
    with pytest.raises(ChordomaError, match="expected a checkpoint of nnU-Net"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ChordomaError, match="found list"):
        read_checkpoint(path)


def test_a_missing_checkpoint(path):
    with pytest.raises(ChordomaError, match="no such file"):
        read_checkpoint(path)
