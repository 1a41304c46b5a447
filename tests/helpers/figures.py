"""Tables and sounds that the tests of figures draw, and what stands in a figure."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd

from svs.audio.sources import ArraySource

MEDIANS = {"ours": 3.0, "mixture": -5.0, "oracle_ibm": 8.0, "better": 5.0}


def scores(medians=MEDIANS):
    return pd.DataFrame(
        [
            {"method": method, "track": f"t{number}", "target": target, "SDR": median + shift + gap}
            for method, median in medians.items()
            for target, gap in (("vocals", 0), ("accompaniment", 6))
            for number, shift in enumerate((-2.0, 0.0, 1.0))
        ]
    )


def curve(*losses):
    return pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses, "val_loss": [x + 0.1 for x in losses]})


def tone(hertz, rate=22050, seconds=4.0):
    return ArraySource(0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate), rate)


def texts(figure):
    return [item.get_text() for item in figure.findobj(matplotlib.text.Text) if item.get_text()]
