"""Recognition of eleven instruments in real recordings: the system that comes with the package.

The network is trained on rendered clips with many sounds and random recording conditions, using all
labels of each clip. No music recordings are used for training.

Arguments:

- dataset: gm_wild (default), irmas or folder
- sounds: sound libraries for the training clips, joined by + (default: timgm, which is always
  available; see irec fetch-sounds)
- validation_sounds: sound libraries for the validation clips (default: some of the training clips
  are held out)
- test_sounds: sound libraries for the test clips (default: the same as for the training clips)
- size: tiny, small (default) or full
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common
from irec_jax.errors import UserError

WINDOW_S = 3.0
#: Default sound library and size of gm_wild.
SOUNDS, SIZE = "timgm", "small"


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(
        text,
        dataset="gm_wild",
        sounds=SOUNDS,
        validation_sounds=str,
        test_sounds=str,
        size=SIZE,
    )
    config = config_dict.ConfigDict()
    config.task = "recognition"
    config.data = common.data(
        args.dataset, format="mono22k", window_s=WINDOW_S, validation_fraction=0.1, cache_gb=2.0
    )
    if args.dataset == "gm_wild":
        for name in ("sounds", "validation_sounds", "test_sounds", "size"):
            config.data[name] = args[name] or ""
    elif args.sounds != SOUNDS or args.validation_sounds or args.test_sounds or args.size != SIZE:
        raise UserError(
            f"dataset={args.dataset}: sounds, validation_sounds, test_sounds and size apply only "
            "to gm_wild; omit them"
        )
    # A hop of 33 ms still resolves attacks, at two thirds of the cost of configs/han.py. The
    # network uses levels relative to the maximum, so the offset only keeps the logarithm of silence
    # finite.
    config.frontend = dict(
        name="log_mel",
        frame_length=1024,
        hop_length=735,
        num_mels=80,
        mel_norm=None,
        offset=1e-3,
    )
    config.augment = common.augment(
        polarity=True,
        speed_semitones=1.0,
        distortion=0.1,
        equaliser_db=8.0,
        band_limit=0.2,
        room=0.4,
        noise_db=-20.0,
        num_time_masks=1,
        time_mask_frames=15,
        num_mel_masks=1,
        mel_mask_bands=12,
    )
    config.model = dict(
        name="tagger",
        filters=(24, 48, 96, 96, 192, 192, 384),
        kernels=(5, 3, 3, 3, 3, 3, 3),
        strides=(2, 1, 2, 1, 2, 1, 2),
        dense=384,
        dropout=0.1,
        dense_dropout=0.3,
        range_db=70.0,
        momentum=0.98,
        dtype=config_dict.placeholder(str),
    )
    config.loss = dict(name="binary_cross_entropy", l2=0.0)
    config.optimizer = common.adam(2e-3, schedule="cosine_decay_schedule")
    config.training = common.training(
        batch_size=64, num_epochs=18, patience=18, keep="last", min_steps_per_epoch=80
    )
    # A threshold of 0.5 misses too many voices; 0.32, which is tuned on rendered clips, detects too
    # many where nobody sings.
    config.evaluation = common.evaluation(
        hop_s=1.0, aggregation="top", threshold=0.4, max_decay_db=2.0
    )
    return common.finish(config, args)
