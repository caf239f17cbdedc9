"""CRNN for five instruments: a CNN on an image sets the initial state of an LSTM on the waveform.

S. Goel, "Using artificial neural networks for instrument classification of audio signals".

Reported test accuracy of B1 / B2 / B3 / B4 on recurrence plots of the IRMAS training clips, split
at random, after 10 epochs (table IX):

  --config=configs/goel_crnn.py:dataset=irmas,split=window,net=b1 ... net=b4
                                                            .402 / .482 / .541 / .481

Measured with B3 on rendered audio (five instruments of `gm_irmas` 1.0.0 `small`, seed 0; chance is
.200) by `irec study goel --quick` (half an hour on two CPU cores for all networks):

  --config=configs/goel_crnn.py                 .253, and .465 split at random (split=window)

Goel states neither the LSTM size nor the chunk size. Here the LSTM has 128 units, as many as the
CNN has outputs, so that no projection is needed, and each chunk has 300 samples. Apart from the
number of epochs, all other settings are as in `goel_cnn.py`.

Arguments:

- dataset: gm_irmas (default), irmas or folder
- net: b1, b2, b3 (default) or b4
- image: recurrence (default) or stacked
- x_len: samples per chunk (default 300)
- hidden: number of LSTM units (default 128)
- split: song (default), window or official
- all_classes: use all of the dataset's classes instead of Goel's five (always true for a folder)
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common, goel_cnn


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, x_len=300, hidden=128, **goel_cnn.ARGUMENTS)
    config = goel_cnn.create(args)
    image = config.frontend.to_dict()
    config.frontend = dict(
        name="image_and_chunks",
        image=image.pop("name"),
        chunk_samples=args.x_len,
        **image,
    )
    config.model = config.model.to_dict() | dict(name="crnn", hidden=args.hidden)
    config.training.num_epochs = 10
    return common.finish(config, args)
