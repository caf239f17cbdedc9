"""Recognition of five instruments with convolutional networks on waveform images.

S. Goel, "Using artificial neural networks for instrument classification of audio signals".

Reported test accuracy of B1 / B2 / B3 / B4 on images of the IRMAS training clips, split at random
(tables VII and VIII):

  --config=configs/goel_cnn.py:dataset=irmas,split=window,image=stacked,net=b1 ... net=b4
                                                            .477 / .508 / .545 / .468
  ...                                     image=recurrence  .605 / .679 / .710 / .531

With a random split, one channel of a clip can be in the training set and the other in the test set.
The default here is split=song, which keeps each song in one split.

Measured with recurrence plots of rendered audio (five instruments of `gm_irmas` 1.0.0, seed 0;
chance is .200) by `irec study goel --size full --split song` (20, 18, 15 and 4 epochs; B2 and B3 in
batches of 16):

  --config=configs/goel_cnn.py:net=b1 ... net=b4            .402 / .421 / .435 / .246

and by `irec study goel --quick` on `small` (half an hour on two CPU cores for all networks):
.395 / .302 / .265 / .235 split by song, .453 / .353 / .300 / .224 split at random.

An image has 150 x 150 pixels: a `stacked` waveform of 3 s with samples arranged row by row, or
`recurrence` plots of 2^16 and 2^17 samples. Each channel is used as a separate example. A clip's
loss and prediction are averaged over its two recurrence plots (Goel treats each plot separately).

Arguments:

- dataset: gm_irmas (default), irmas or folder
- net: b1, b2, b3 (default) or b4
- image: recurrence (default) or stacked
- split: song (default), window or official
- all_classes: use all of the dataset's classes instead of Goel's five (always true for a folder)
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common
from irec_jax.labels import GOEL

IMAGES = {
    "recurrence": dict(name="recurrence", exponents=(16, 17), points=256, size=150),
    "stacked": dict(name="stacked", side=367, size=150),
}


#: Arguments and their defaults.
ARGUMENTS = dict(net="b3", image="recurrence", split="song", all_classes=False)


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, **ARGUMENTS)
    return common.finish(create(args), args)


def create(args) -> config_dict.ConfigDict:
    """Return the config for the given arguments without the parts added by `common.finish`."""
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
        cache_gb=2.0,  # enough for both channels of the five IRMAS classes
    )
    config.frontend = dict(common.choose("image", args.image, IMAGES))
    config.augment = common.augment()
    # The paper does not state the rate of the "dropout layers in between".
    config.model = dict(name="image_cnn", net=args.net, dropout=0.25, dense_dropout=0.5)
    config.loss = dict(name="softmax_cross_entropy", l2=0.0)
    config.optimizer = common.adam(1e-3)
    # Goel's code stops when the validation accuracy has not improved for 5 epochs; the paper keeps
    # the epoch with the lowest validation loss. Neither states the batch size or the number of
    # epochs. An epoch on IRMAS has about 150 steps. On smaller datasets, epochs also have at least
    # 150 steps, because early stopping would otherwise end training too soon.
    config.training = common.training(
        batch_size=32,
        num_epochs=100,
        patience=4,
        stop_by="top1",
        best_by="loss",
        min_steps_per_epoch=150,
    )
    config.evaluation = common.evaluation(batch_size=64, hop_s=1.5, aggregation="s1", threshold=0.5)
    return config
