"""Log-mel ConvNet for predominant instrument recognition.

Y. Han, J. Kim, K. Lee, "Deep convolutional neural networks for predominant instrument recognition
in polyphonic music", IEEE/ACM TASLP 25(1), 2017.

Reported micro / macro F1 on IRMAS, mean of three runs (tables IV and V):

  --config=configs/han.py:dataset=irmas --config.training.repeats=3                 .602 / .503
  ...  with the argument activation=tanh                                            .499 / .399
  ...  activation=relu                                                              .591 / .486
  ...  activation=prelu                                                             .588 / .490
  ...  activation=lrelu_0.01                                                        .593 / .492
  ...  --config.evaluation.aggregation=s1 (threshold 0.16)                          .595 / .486

Measured micro / macro F1 on rendered audio, which is not comparable with IRMAS (`gm_irmas` 1.0.0
`small`, seed 0):

  --config=configs/han.py                                                           .663 / .650

The run takes 10 to 12 minutes on two CPU cores, including 6 to 8 minutes of training (5 epochs of
138 steps).

Arguments:

- dataset: gm_irmas (default), irmas or folder
- activation: tanh, relu, prelu, lrelu_0.01 or lrelu_0.33 (default)
- window_s: 0.5, 1.0 (default), 1.5 or 3.0
- split_validation: song (default) holds out complete songs for validation; random holds out random
  clips, as in the paper
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, activation="lrelu_0.33", window_s=1.0, split_validation="song")
    config = config_dict.ConfigDict()
    config.task = "recognition"
    # Training clips are divided into windows without overlap; 15 % are held out for validation.
    config.data = common.data(
        args.dataset,
        format="mono22k",
        window_s=args.window_s,
        validation_fraction=0.15,
        split_validation=args.split_validation,
    )
    # The paper states neither the scale of the mel filters nor the eps in the logarithm. If each
    # filter has a peak of 1, and eps is 0.1, the logarithms are around 0, and a network without
    # normalisation layers starts to learn immediately. If each filter has an area of 1, and eps is
    # 1e-3, the logarithms are around -3.7. After eight passes over the rendered data, the loss
    # of one of two runs was then still that of a constant prediction.
    config.frontend = dict(
        name="log_mel",
        frame_length=1024,
        hop_length=512,
        num_mels=128,
        mel_norm=None,
        offset=0.1,
    )
    config.augment = common.augment()
    # Dropout is also applied after the global pooling, as the paper's text states. Table I
    # lists no dropout there (model.pooled_dropout=0).
    config.model = dict(
        name="convnet",
        activation=args.activation,
        pooling="max",
        dropout=0.25,
        dense_dropout=0.5,
        dtype=config_dict.placeholder(str),
    )
    config.loss = dict(name="categorical_cross_entropy", l2=0.0)
    config.optimizer = common.adam(1e-3)
    # Han et al. validate once per epoch and stop when the loss has not decreased for more than two
    # epochs. An epoch on IRMAS has 134 steps (5,700 clips with three windows each). On smaller
    # datasets, epochs also have at least 134 steps, because with many short epochs the lowest loss,
    # and thus the end of training, would be a matter of chance. The paper does not state how the
    # best epoch is selected. Here it is selected by accuracy, because the validation loss rises
    # when the network becomes more confident, even while its accuracy still improves.
    config.training = common.training(
        batch_size=128, num_epochs=100, patience=2, best_by="top1", min_steps_per_epoch=134
    )
    # Test clips of any length are divided into the same windows, with a hop of half a window.
    config.evaluation = common.evaluation(hop_s=args.window_s / 2)
    return common.finish(config, args)
