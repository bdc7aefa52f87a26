"""The gate between prediction and export: does this case look like those that the models were trained on?

It meets the other stages through their files alone: images and label maps on the dataset's grid, conversion records,
and tables of disagreement.
"""
