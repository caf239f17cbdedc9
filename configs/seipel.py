"""Recognition of 13 orchestral instruments over time, with labels from spot microphones.

F. Seipel, "Music instrument identification using convolutional neural networks", TU Berlin, 2018,
chapter 4.

The thesis plots its scores on 23 test pieces without giving numbers: they rise with instance length
up to 112 frames (2.60 s) and then fall slightly; a context of three instances helps with short
instances; multiple-instance learning does not help.

Measured instance-level micro / macro F1 at threshold 0.5 on rendered music, which is not comparable
with the thesis (`gm_multitrack` 1.0.0 `small`, seed 0):

  --config=configs/seipel.py                                                        .802 / .774
  ...  --config.data.hop_s=2.6006 --config.augment.num_mel_masks=0                  .712 / .674

Each run takes a quarter of an hour on two CPU cores. MFCC statistics with logistic regression reach
.776 / .748; averaged over pieces, the network's F1 is .080 [.008, .145] higher.
`small` has ten minutes of training music; Seipel's training set has 15 hours.

The labels are derived from the tracks: after crosstalk reduction, the RMS is measured in frames of
1,024 samples, and its maximum over the instance is compared with a threshold relative to the
track's maximum RMS. An instance consists of `frames` frames of the mix; all of its labels may be
0.

Arguments:

- dataset: gm_multitrack (default) or multitrack
- frames: frames per instance, 16 to 320 (default 112, 2.60 s)
- context: instances per window, an odd number: 1 (default), 3, 5 or 7; the central one is predicted
- instances: instances per bag for multiple-instance learning (default 1: no bags)
- aggregate: how a bag's predictions are combined: mean (default), max, noisy_or, attention or lse
- share: use one network for all instances in a bag (default); share=false uses one per position
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common
from irec_jax.errors import UserError

FRAME_LENGTH, SAMPLE_RATE_HZ = 1024, 44_100
#: Hop between training instances in frames.
HOP_FRAMES = 16


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(
        text,
        dataset="gm_multitrack",
        frames=112,
        context=1,
        instances=1,
        aggregate="mean",
        share=True,
    )
    for name in ("frames", "context", "instances"):
        if args[name] < 1:
            raise UserError(f"config argument {name}={args[name]}: expected at least 1")
    if args.context % 2 == 0:
        raise UserError(
            f"config argument context={args.context}: expected an odd number, so that one instance "
            f"is in the middle, such as {args.context + 1}"
        )
    # Without overlap, as in the thesis, a small dataset would have too few instances. The instances
    # in a bag are adjacent.
    hop_frames = min(args.frames, HOP_FRAMES) if args.instances == 1 else args.frames
    config = config_dict.ConfigDict()
    label_s = args.frames * FRAME_LENGTH / SAMPLE_RATE_HZ
    # The thesis has no validation pieces, since it trains for a fixed number of epochs. Here some
    # training pieces are held out to monitor progress and to tune the report's thresholds.
    config.data = common.instances(
        args.dataset,
        window_s=args.context * label_s,
        label_s=label_s,
        hop_s=hop_frames * FRAME_LENGTH / SAMPLE_RATE_HZ,
        validation_fraction=0.1,
    )
    # The thesis does not state the mel spectrogram's window, overlap, power or logarithm. Here it
    # has the same frames as the labels, without overlap; the rest is as in configs/han.py.
    config.frontend = dict(
        name="log_mel",
        frame_length=FRAME_LENGTH,
        hop_length=FRAME_LENGTH,
        padding="none",
        num_mels=128,
        max_hz=10_000.0,
        mel_norm=None,
        offset=0.1,
    )
    config.augment = common.augment(num_mel_masks=1)
    # The thesis lists no dropout after the global pooling.
    config.model = dict(
        name="convnet",
        activation="relu",
        pooling="max",
        dropout=0.25,
        pooled_dropout=0.0,
        dense_dropout=0.5,
        dtype=config_dict.placeholder(str),
    )
    config.task = "recognition"
    if args.instances > 1:
        config.task = "multi_instance"
        config.bag = dict(num_instances=args.instances, share=args.share, aggregate=args.aggregate)
    config.loss = dict(name="binary_cross_entropy", l2=0.0)
    config.optimizer = common.adam(1e-3)
    # Training takes ten epochs, and the last one is kept. If there is less data than in the thesis,
    # an epoch consists of several passes, so that there are enough steps.
    config.training = common.training(
        batch_size=64, num_epochs=10, patience=10, keep="last", min_steps_per_epoch=40
    )
    config.evaluation = common.evaluation(
        batch_size=64, hop_s=label_s, aggregation="max", per_piece=True
    )
    return common.finish(config, args)
