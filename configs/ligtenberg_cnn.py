"""Spectrogram CNN for 11 instruments, trained on original or separated audio.

D. Ligtenberg, "The effect of deep learning-based source separation on predominant instrument
classification in polyphonic music", Utrecht University, 2022.

Reported macro AUC on IRMAS test part 3, after training on the training clips and test part 2
(table 4.2, with the intervals given by Ligtenberg):

  --config=configs/ligtenberg_cnn.py:dataset=irmas              base, original audio .786 +- .012
  irec study separation --dataset=irmas ...                     raw, separated       .806 +- .009
  ...                                                           post                 .820 +- .007

Ligtenberg selected the L2 weight and the best epoch by the AUC on the test clips; here they are
selected by the AUC on validation clips. Training stops when the validation AUC has not improved for
50 epochs, the patience used in the thesis. The thesis does not state how classes are weighted; here
each example of a class that has n of the N training examples has the weight N / (11 n).
`--config.loss.class_weights=effective` weights classes more evenly, `none` equally.
`irec study separation` trains all three classifiers with the same budget.

Measured macro AUC on rendered audio (`gm_musdb` and `gm_irmas` 1.0.0 `small`, 167 test clips from
56 songs, seed 0) by `irec study separation --quick`, which takes 55 minutes on two CPU cores: base
.551, raw .571, post .571 (with an earlier version, which trained for 4 epochs and kept the one with
the lowest validation loss).

Arguments:

- dataset: gm_irmas (default), irmas or folder
- split: parts (default), official (default for datasets without test parts), song or window
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, split=str)
    config = config_dict.ConfigDict()
    config.task = "recognition"
    # The training clips and test part 2 are used for training, and part 3 for testing; only the
    # first 3 s of each clip are used. A user's folder has no test parts.
    split = args.split or ("parts" if common.has_test_parts(args.dataset) else "official")
    config.data = common.data(
        args.dataset,
        format="stereo44k",
        window_s=3.0,
        normalize="none",
        split=split,
        validation_fraction=0.2,
    )
    config.frontend = dict(
        name="spectrogram_db",
        frame_length=4096,
        hop_length=1050,
        num_bins=2048,
        num_frames=128,
        floor_db=-100.0,
        scale_db=150.0,
    )
    config.augment = common.augment()
    # The thesis does not state the dense layer's size.
    config.model = dict(
        name="spectrogram_cnn",
        dropout=0.2,
        dense=128,
        dense_dropout=0.5,
        dtype=config_dict.placeholder(str),
    )
    # The thesis does not state how classes are weighted.
    config.loss = dict(name="binary_cross_entropy", l2=1e-6, class_weights="balanced")
    config.optimizer = common.adam(3e-4)
    # Ligtenberg's training ended after 98 to 173 epochs.
    config.training = common.training(
        batch_size=16, num_epochs=300, patience=50, stop_by="auc", best_by="auc"
    )
    config.evaluation = common.evaluation(batch_size=16, hop_s=3.0, aggregation="s1", threshold=0.5)
    return common.finish(config, args)
