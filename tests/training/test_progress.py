import math

import matplotlib as mpl
import pytest
from skimage.io import imread

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training.progress import (
    Epoch,
    add_keys,
    best_epoch,
    draw_progress,
    read_progress,
    write_progress,
)


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [([3.0, 1.0, 2.0], 1), ([2.0, 1.0, 1.0], 1), ([math.nan, 5.0], 1), ([1.0, math.nan], 0), ([math.nan, math.nan], 0)],
)
def test_the_best_epoch_is_the_first_of_the_lowest_loss(losses, epoch):
    assert best_epoch(losses) == epoch


def log(epochs):
    return {
        "train_losses": [1.0] * epochs,
        "val_losses": [1.0] * (epochs - 1) + [math.nan],
        "lrs": [1e-4] * epochs,
        "mean_iou": [0.5] * epochs,
        "iou_by_label": [[0.5] * 7 + [math.nan]] * (epochs - 1) + [[]],
    }


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_the_picture_is_drawn_whatever_is_unknown(tmp_path, epochs):
    # As nnU-Net leaves them behind.
    with mpl.rc_context({"font.size": 40, "figure.dpi": 10}):
        draw_progress(log(epochs), CHORDOMA.names, tmp_path / "progress.png")
        assert mpl.rcParams["font.size"] == 40
    picture = imread(tmp_path / "progress.png")
    assert picture.shape[:2] == (1050, 900)
    assert picture[..., :3].std() > 10
    assert [p.name for p in tmp_path.iterdir()] == ["progress.png"]


def test_epochs_of_an_older_log_are_unknown():
    older = {"val_losses": [1.0, 2.0]}
    add_keys(older, 2)
    assert all(map(math.isnan, older["mean_iou"]))
    assert older["iou_by_label"] == [[], []]
    newer = {"mean_iou": [0.1], "iou_by_label": [[0.1]]}
    add_keys(newer, 1)
    assert newer["mean_iou"] == [0.1]


def test_the_numbers_of_every_epoch_can_be_read_by_programs(tmp_path):
    file = tmp_path / "progress.json"
    assert read_progress(file) == ()
    # The log of an epoch in the making has a value more here and there.
    write_progress(log(3) | {"train_losses": [1.0] * 4}, file)
    epochs = read_progress(file)
    assert epochs[:2] == (Epoch(1.0, 0.5),) * 2
    assert len(epochs) == 3
    assert math.isnan(epochs[2].val_loss)
    file.write_text('{"a": 1}')
    with pytest.raises(ChordomaError, match="expected a list of epochs"):
        read_progress(file)
