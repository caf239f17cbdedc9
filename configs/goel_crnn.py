"""A picture first, then the waveform: a CNN sets the state from which an LSTM starts.

S. Goel, "Using artificial neural networks for instrument classification of audio signals".

Reported on IRMAS's training clips, split at random, recurrence plots, after 10 epochs (table IX;
test accuracy of B1 / B2 / B3 / B4):

  --config=configs/goel_crnn.py:dataset=irmas,split=window,net=b1 ... net=b4
                                                            .402 / .482 / .541 / .481

Sizes of the LSTM and of its chunks are not stated: 128 units, as many as the CNN gives, so that
nothing need be projected, and chunks of 300 samples. The rest is as in `goel_cnn.py`.

Arguments: dataset=gm_irmas|irmas|folder, net=b1|b2|b3|b4, image=recurrence|stacked, x_len=300,
hidden=128, split=song|window|official, all_classes (a folder: always), debug.
"""

from ml_collections import config_dict

from configs import common, goel_cnn


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(
        text,
        net="b3",
        image="recurrence",
        x_len=300,
        hidden=128,
        split="song",
        all_classes=False,
    )
    shared = ("dataset", "net", "image", "split", "all_classes")
    config = goel_cnn.get_config(",".join(f"{key}={args[key]}" for key in shared))
    with config.unlocked():
        picture = dict(config.frontend)
        config.frontend = dict(
            name="image_and_chunks",
            image=picture.pop("name"),
            chunk_samples=args.x_len,
            **picture,
        )
        config.model = config.model.to_dict() | dict(name="crnn", hidden=args.hidden)
        config.training.num_epochs = 10
    return common.finish(config, args)
