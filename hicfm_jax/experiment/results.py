"""The scores of an experiment in one table."""

import csv
import os

from hicfm_jax.experiment.stages import Setting, depth_name, report

COLUMNS = {"r": "r", "log_r": "log r", "mse": "MSE", "insulation_r": "insulation", "focus_recovery": "foci"}
"""Scores of `metrics.csv` that are shown, and their titles; `docs/evaluation.md` defines them."""


def table(setting: Setting) -> str:
    """Pooled scores of every map on the judging chromosomes, depth by depth, and where the reports are."""
    lines = [f"On {', '.join(setting.chromosomes.test)}, which nothing was trained or tuned on:"]
    width = 26
    for fraction in setting.fractions:
        folder = report(setting, fraction)
        titles = "".join(f"{title:>11}" for title in COLUMNS.values())
        lines += ["", f"{'1/' + depth_name(fraction):{width}}{titles}"]
        with open(os.path.join(folder, "metrics.csv"), newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["chromosome"] == "pooled":
                    scores = "".join(f"{_number(row[name]):>11}" for name in COLUMNS)
                    lines.append(f"{row['map']:{width}}{scores}")
        lines.append(f"{'':{width}}{os.path.join(folder, 'report.html')}")
    return "\n".join(lines)


def _number(text: str) -> str:
    return f"{float(text):.4f}" if text else "-"
