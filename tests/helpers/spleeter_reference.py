"""Run with the Python of spleeter's own environment by test_spleeter.py: checkpoints, and spleeter's own answers.

python -I tests/helpers/spleeter_reference.py save FOLDER SEED
    A checkpoint of spleeter's own graph with random weights.
python -I tests/helpers/spleeter_reference.py separate FOLDER AUDIO.npy VOCALS.npy [AUDIO.npy VOCALS.npy ...]
    What `spleeter.separator.Separator` makes of float32 (samples, 2) at 44.1 kHz.
"""

import json
import os
import sys
import tempfile

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")

import numpy as np
import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder
from spleeter.separator import Separator
from spleeter.utils.configuration import load_configuration


def save(folder, seed):
    params = load_configuration("spleeter:2stems")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        waveform = tf.compat.v1.placeholder(tf.float32, (None, 2))
        EstimatorSpecBuilder({"waveform": waveform}, params).outputs  # noqa: B018 (builds the graph)
        variables = tf.compat.v1.global_variables()
        tf.compat.v1.train.create_global_step()  # the Estimator looks for it
        generator = np.random.default_rng(seed)
        session.run(tf.compat.v1.global_variables_initializer())
        for variable in variables:
            # Gains and variances around 1, so that masks take all values; kernels as initialised, shaken.
            values = session.run(variable)
            shaken = values + generator.normal(0, 0.3 * values.std() + 0.02, values.shape)
            variable.load(np.abs(shaken) if "variance" in variable.name else shaken, session)
        tf.compat.v1.train.Saver().save(session, os.path.join(folder, "model"))


def separate(folder, *files):
    params = load_configuration("spleeter:2stems")
    params["model_dir"] = os.path.abspath(folder)
    with tempfile.TemporaryDirectory() as scratch:
        descriptor = os.path.join(scratch, "params.json")
        with open(descriptor, "w") as file:
            json.dump(params, file)
        for audio, vocals in zip(files[::2], files[1::2], strict=True):
            estimate = Separator(descriptor, multiprocess=False).separate(np.load(audio))
            np.save(vocals, estimate["vocals"])


if __name__ == "__main__":
    {"save": lambda folder, seed: save(folder, int(seed)), "separate": separate}[sys.argv[1]](*sys.argv[2:])
