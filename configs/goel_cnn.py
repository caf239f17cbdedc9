"""Convolutional networks on pictures of the waveform, five instruments.

S. Goel, "Using artificial neural networks for instrument classification of audio signals".

Reported on pictures of IRMAS's training clips, split at random (tables VII and VIII; test accuracy
of B1 / B2 / B3 / B4):

  --config=configs/goel_cnn.py:dataset=irmas,split=window,image=stacked,net=b1 ... net=b4
                                                            .477 / .508 / .545 / .468
  ...                                     image=recurrence  .605 / .679 / .710 / .531

In that split the two channels of one clip are on both sides; here the default is split=song, no
song on both sides.

A picture is 150 x 150: `stacked` waveforms of 3 s, samples row by row, or `recurrence` plots of
2^16 and of 2^17 samples. Each channel is an example of its own. Of a clip's two recurrence plots
each is learned by itself; the mean of what is said about them counts (the source counts each).

Arguments: dataset=gm_irmas|irmas|folder, net=b1|b2|b3|b4, image=recurrence|stacked,
split=song|window|official, all_classes (a folder: always), debug.
"""

from ml_collections import config_dict

from configs import common
from irec_jax.labels import GOEL

IMAGES = {
    "recurrence": dict(name="recurrence", exponents=(16, 17), points=256, size=150),
    "stacked": dict(name="stacked", side=367, size=150),
}


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, net="b3", image="recurrence", split="song", all_classes=False)
    config = config_dict.ConfigDict()
    config.task = "recognition"
    config.data = common.data(
        args.dataset,
        format="stereo44k",
        window_s=3.0,
        classes=() if args.all_classes or not common.has_classes(args.dataset, GOEL) else GOEL,
        channels="separate",
        normalize="none",
        split=args.split,
        validation_fraction=0.15,
        cache_gb=2.0,  # IRMAS's five classes, both channels
    )
    config.frontend = dict(common.choose("image", args.image, IMAGES))
    config.augment = common.augment()
    # "Dropout layers in between" of a rate that is not stated.
    config.model = dict(name="image_cnn", net=args.net, dropout=0.25, dense_dropout=0.5)
    config.loss = dict(name="softmax_cross_entropy", l2=0.0)
    config.optimizer = dict(name="adam", learning_rate=1e-3, schedule=dict(name=""), clip_norm=0.0)
    # The published code stops when the validation accuracy has not risen for 5 epochs, more than
    # 4; the paper keeps the epoch of the lowest validation loss. Batch size and epochs are not
    # stated. An epoch on IRMAS has about 150 steps; on smaller data as many make an epoch, or
    # patience would end after a few steps.
    config.training = common.training(
        batch_size=32,
        num_epochs=100,
        patience=4,
        stop_by="top1",
        best_by="loss",
        min_steps_per_epoch=150,
    )
    config.evaluation = common.evaluation(batch_size=64, hop_s=1.5, aggregation="s1", threshold=0.5)
    return common.finish(config, args)
