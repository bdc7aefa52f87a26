"""The way back to the image's grid is nnU-Net's own, with probabilities in place of scores."""

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.training.original_grid import probabilities_on_original_grid
from nnunet_chordoma.training.trained_model import read_model


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("spacing_mm", [(1.5, 2.0, 2.5), (1.0, 1.0, 7.0), (2.0, 2.0, 2.0)])
def test_as_nnunet_does_with_scores(model_folders, transpose, spacing_mm):
    folder = model_folders.write_model(transpose=transpose)
    model = read_model("m", folder, None, "checkpoint_final.pth")
    grid = Geometry((13, 9, 7), spacing_mm, (0.0, 0.0, 0.0))
    path = model_folders.write_image("a", grid=grid)
    voxels = np.random.default_rng(0).normal(size=grid.shape_zyx).astype(np.float32)
    voxels[:2] = 0  # which nnU-Net cuts away
    write_image(path, Image(voxels, grid))
    image, _, properties = model.configuration.preprocessor_class(verbose=False).run_case(
        [str(path)], None, model.plans, model.configuration, model.dataset_json
    )
    scores = torch.from_numpy(np.random.default_rng(1).normal(size=(8, *image.shape[1:]))).float()
    probabilities = (3 * scores).softmax(dim=0).numpy()

    labels = model.plans.get_label_manager(model.dataset_json)
    labels.inference_nonlin = lambda values: values
    _, expected = convert_predicted_logits_to_segmentation_with_correct_shape(
        probabilities, model.plans, model.configuration, labels, properties, return_probabilities=True
    )
    found = probabilities_on_original_grid(probabilities, properties, model)
    assert found.shape == (8, 7, 9, 13)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(found[0, :2], 1)
