"""Ensembles of segmentation models: weights fitted to label maps, and predictions made with them (paper, 2.4).

In Python, with arrays or with the folders that nnUNetv2_predict --save_probabilities or chordoma-predict leave::

    from nnunet_chordoma.ensemble.fit import fit, fit_folders
    from nnunet_chordoma.ensemble.predict import predict, predict_folders
    from nnunet_chordoma.ensemble.weights import EnsembleWeights

    weights, scheme = EnsembleWeights.read(Path("weights.json"))
    label_map = predict([maps_of_a, maps_of_b], weights)  # arrays (label, z, y, x), in the order of weights.names
    predict_folders({"a": Path("a"), "b": Path("b")}, weights, Path("out"), scheme, uncertainty=True)

Neither nnU-Net nor torch is imported, so neither need be installed where this runs.
"""
