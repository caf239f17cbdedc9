"""Log-mel ConvNet for predominant instrument recognition.

Y. Han, J. Kim, K. Lee, "Deep convolutional neural networks for predominant instrument recognition
in polyphonic music", IEEE/ACM TASLP 25(1), 2017.

Reported on IRMAS, mean of three runs (tables IV and V), micro / macro F1:

  --config=configs/han.py:dataset=irmas --config.training.repeats=3                 .602 / .503
  ...  with the argument activation=tanh                                            .499 / .399
  ...  activation=relu                                                              .591 / .486
  ...  activation=prelu                                                             .588 / .490
  ...  activation=lrelu_0.01                                                        .593 / .492
  ...  --config.evaluation.aggregation=s1 (threshold 0.16)                          .595 / .486

Without `dataset=irmas` the same recipe runs on rendered audio (gm_irmas), whose scores are not
comparable with the above; README.md has the measured ones and what they cost.

Arguments: dataset=gm_irmas|irmas|folder, activation=tanh|relu|prelu|lrelu_0.01|lrelu_0.33,
window_s=0.5|1.0|1.5|3.0, debug.
"""

from ml_collections import config_dict

from configs import common


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, activation="lrelu_0.33", window_s=1.0)
    config = config_dict.ConfigDict()
    config.task = "recognition"
    # Training clips are cut into windows without overlap, 15 % of the clips validate.
    config.data = common.data(
        args.dataset, format="mono22k", window_s=args.window_s, validation_fraction=0.15
    )
    # The paper leaves the scale of the bands and the eps of the logarithm open. Triangles of peak 1
    # and 0.1 put the logarithms around 0, where a network without normalisation layers starts to
    # learn at once; triangles of area 1 and 1e-3 put them around -3.7, where it lingers at the loss
    # of a guess: one of two seeds was still there after eight passes over the rendered data.
    config.frontend = dict(
        name="log_mel",
        frame_length=1024,
        hop_length=512,
        num_mels=128,
        mel_norm=None,
        offset=0.1,
    )
    config.augment = common.augment()
    config.model = dict(
        name="convnet",
        activation=args.activation,
        pooling="max",
        dropout=0.25,
        dense_dropout=0.5,
        dtype="float32",
    )
    config.loss = dict(name="categorical_cross_entropy", l2=0.0)
    config.optimizer = dict(name="adam", learning_rate=1e-3, schedule=dict(name=""), clip_norm=0.0)
    # The paper validates once per epoch and stops after more than two without decrease. Its epoch
    # on IRMAS has 134 steps (5,700 clips of three windows). On smaller data as many steps make an
    # epoch: after each of many short ones, chance would choose the lowest loss and end training.
    # It does not say by what the best weights are chosen. The loss rises again while the network
    # only grows surer of itself; its accuracy on the validation windows goes on rising.
    config.training = common.training(
        batch_size=128, num_epochs=100, patience=2, best_by="top1", min_steps_per_epoch=134
    )
    # Test clips of any length: windows as in training, hop = half a window.
    config.evaluation = common.evaluation(hop_s=args.window_s / 2)
    return common.finish(config, args)
