"""Table of validation metrics: their meaning and where they are shown."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a metric of `Task.finish` is presented; metrics.jsonl has those without an entry too.

    Attributes:
      meaning: for the summary of a run; "" leaves it out.
      shown: whether the line of a validation shows it.
    """

    meaning: str = ""
    shown: bool = True


METRICS = {
    "pixel_r": Metric("correlation of predicted and true windows, visible patches included"),
    "ssim_loss_gb": Metric("1 - SSIM of the channels that hold data", shown=False),
    "count_loss": Metric("squared error of log10 of the tile's contacts", shown=False),
    "masked_r2_mean": Metric(),
    "masked_r2_distance": Metric("masked pixels: 0 is as good as the mean at each distance"),
    "masked_r2_coverage": Metric("masked pixels: 0 is as good as distance, row and column means"),
    "map_r": Metric("correlation of predicted and true maps (log10 counts) about each window's mean"),
    "input_r": Metric("the same of the input, scaled to the depth of the target"),
    "smoothed_r": Metric("the same of the input, scaled and smoothed"),
    "coverage_aware_r": Metric("the same of the input, smoothed relative to distance and coverage"),
    "map_r_distance": Metric("as map_r, after subtracting the mean at each distance from both"),
    "input_r_distance": Metric("the same of the input"),
    "smoothed_r_distance": Metric("the same of the smoothed input"),
    "coverage_aware_r_distance": Metric("the same of the input, smoothed relative to distance and coverage"),
    "track_r": Metric("correlation of predicted and true tracks about each window's mean"),
    "track_CTCF_r": Metric(),
    "embedding_cosine": Metric("cosine of predicted and true embeddings"),
    "call_f1": Metric("F1 score of pixels called at 0.5"),
    "replicate_cosine": Metric("cosine of the embeddings of two downsamplings of a window", shown=False),
    "other_cosine": Metric("cosine of the embeddings of two windows", shown=False),
    "told_apart": Metric("fraction of windows that are more similar to their replicate than to another"),
}
"""Metrics by name, in the order of presentation."""
