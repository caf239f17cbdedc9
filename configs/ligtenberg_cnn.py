"""Spectrogram CNN for 11 instruments, the recogniser that listens with and without separation.

D. Ligtenberg, "The effect of deep learning-based source separation on predominant instrument
classification in polyphonic music", Utrecht University, 2022.

Reported on test part 3 of IRMAS, trained on its training clips and test part 2 (table 4.2, macro
AUC, with what the source gives as its interval):

  --config=configs/ligtenberg_cnn.py:dataset=irmas              base, original audio .786 +- .012
  irec study separation --dataset=irmas ...                     raw, separated       .806 +- .009
  ...                                                           post                 .820 +- .007

There the L2 weight and the best epoch were chosen by the AUC of the test clips; here by the loss of
validation clips. The source weights classes and does not say how; here all count alike.
`irec study separation` trains all three with the same budget.

Arguments: dataset=gm_irmas|irmas|folder, split=parts|official|song|window, debug.
"""

from ml_collections import config_dict

from configs import common


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, split="")
    config = config_dict.ConfigDict()
    config.task = "recognition"
    # Training clips and test part 2 train, part 3 tests; the first 3 s of each clip. A folder has
    # no parts.
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
    # The size of the reducing dense layer is not stated.
    config.model = dict(
        name="spectrogram_cnn", dropout=0.2, dense=128, dense_dropout=0.5, dtype="float32"
    )
    config.loss = dict(name="binary_cross_entropy", l2=1e-6)
    config.optimizer = dict(name="adam", learning_rate=3e-4, schedule=dict(name=""), clip_norm=0.0)
    # The source stops on AUC with patience 50, after 98 to 173 epochs; here the loss decides.
    config.training = common.training(batch_size=16, num_epochs=150, patience=50)
    config.evaluation = common.evaluation(batch_size=16, hop_s=3.0, aggregation="s1", threshold=0.5)
    return common.finish(config, args)
