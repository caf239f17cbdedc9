"""Results of Ligtenberg (2022): separation (table 4.1) and subsequent recognition (table 4.2).

The recogniser's L2 weight and epoch were chosen by the AUC on the test clips.
"""

#: Table 4.1: amplitude SDR in dB (mean and standard deviation over tracks) of the separator's
#: output before and after postprocessing, and the independent-samples t-test that compares them.
SDR_CITATION = "Ligtenberg 2022, table 4.1"
SDR_DATASET = "MUSDB18 test, 50 tracks"
AMPLITUDE_SDR_DB = {"raw": {"mean": 9.33, "sd": 4.29}, "post": {"mean": 7.29, "sd": 3.25}}
T_TEST = {"t": 2.69, "df": 98, "p_value": 0.008}

#: Section 3.1: numbers of clips and labels in the recogniser's training split (which includes the
#: validation clips) and test split.
NUM_CLIPS = {"training": 8006, "test": 766}
NUM_LABELS = {"training": 8911, "test": 1279}

#: Table 4.2: area under the ROC curve and the half width printed after ± for classifiers trained on
#: original (base), separated (raw) and postprocessed (post) audio, and the D scores of raw and post
#: relative to base.
AUC_CITATION = "Ligtenberg 2022, table 4.2"
AUC_DATASET = "IRMAS test part 3, 766 clips of 3 s"


def _row(base: tuple, raw: tuple, post: tuple, d_raw: float, d_post: float) -> dict:
    return {"base": base, "raw": raw, "post": post, "d_raw": d_raw, "d_post": d_post}


MACRO_AUC = _row((0.786, 0.012), (0.806, 0.009), (0.82, 0.007), -0.001, 0.015)
AUC = {
    "cel": _row((0.722, 0.052), (0.821, 0.046), (0.839, 0.044), 0.001, 0.021),
    "cla": _row((0.784, 0.041), (0.79, 0.041), (0.904, 0.031), -0.077, 0.048),
    "flu": _row((0.763, 0.032), (0.801, 0.031), (0.737, 0.033), -0.025, -0.092),
    "gac": _row((0.724, 0.02), (0.757, 0.019), (0.758, 0.019), -0.006, -0.004),
    "gel": _row((0.78, 0.015), (0.757, 0.015), (0.762, 0.015), -0.053, -0.047),
    "org": _row((0.729, 0.023), (0.706, 0.024), (0.725, 0.024), -0.07, -0.051),
    "pia": _row((0.694, 0.016), (0.726, 0.015), (0.739, 0.015), 0.001, 0.014),
    "sax": _row((0.846, 0.024), (0.856, 0.024), (0.882, 0.022), -0.038, -0.001),
    "tru": _row((0.888, 0.03), (0.879, 0.032), (0.92, 0.026), -0.071, -0.025),
    "vio": _row((0.872, 0.02), (0.911, 0.017), (0.892, 0.019), 0.001, -0.018),
    "voi": _row((0.842, 0.013), (0.861, 0.012), (0.865, 0.012), -0.005, -0.002),
}
#: Comparison of L2 weights (section 4.2.1, figure 4.5): system -> weight with the highest test AUC,
#: and this AUC.
L2_STUDY = {"base": ("1e-05", 0.732), "raw": ("1e-06", 0.807), "post": ("1e-06", 0.82)}
