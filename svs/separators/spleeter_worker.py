"""Spleeter's network in a process of its own: segments of audio in, their vocals out.

It runs with the Python of spleeter's own environment (`tools/spleeter.sh`), where svs is not installed.
`svs.separators.spleeter` starts it by its path and talks to it (`svs.runtime.worker`):

    python -I svs/separators/spleeter_worker.py CHECKPOINT SEPARATION_EXPONENT MASK_EXTENSION

Standard input is a socket, on which `multiprocessing.connection` sends messages of bytes.  The first message goes out
when the checkpoint is loaded and says what was loaded, in UTF-8.  Then each request gets one answer, all numbers little
endian:

    request  uint32 first frame, uint32 last frame (exclusive), float32 (527360, 2): one segment at 44.1 kHz
    answer   float32 (1024 (frames - 1) + 4096, 2): what these frames add to the vocals

The estimate is the sum of the answers over a song, each at its place.  The program ends when the socket closes.
"""

import os
import struct
import sys
from multiprocessing.connection import Connection

REQUEST = struct.Struct("<II")


def serve(greeting, vocals):
    """Answer requests until the socket closes; `vocals(bytes, first, last)` gives the bytes of an answer."""
    connection = Connection(0)
    connection.send_bytes(greeting.encode())
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(vocals(request[REQUEST.size :], *REQUEST.unpack_from(request)))


def network(checkpoint, exponent, extension):
    """Load the checkpoint, once, into the graph that spleeter itself builds.

    Spleeter's own `Separator` reads the checkpoint again in every call, and goes on with random weights if there is
    none.  A Saver refuses a checkpoint that lacks any variable of the graph.

    Returns
    -------
    greeting : str
    vocals : function
    """
    import numpy as np
    import tensorflow as tf
    from spleeter.model import EstimatorSpecBuilder
    from spleeter.utils.configuration import load_configuration

    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    params = load_configuration("spleeter:2stems")
    params.update(separation_exponent=exponent, mask_extension=extension)
    length, step, frames = params["frame_length"], params["frame_step"], params["T"]
    samples = length + step * (frames - 1)
    with tf.Graph().as_default():
        audio = tf.compat.v1.placeholder(tf.float32, (samples, 2))
        first = tf.compat.v1.placeholder(tf.int32, ())
        last = tf.compat.v1.placeholder(tf.int32, ())
        # Without it, spleeter computes the spectrum itself, but puts a frame of zeros before every waveform.
        spectrum = tf.transpose(tf.signal.stft(tf.transpose(audio), length, step), perm=[1, 2, 0])
        builder = EstimatorSpecBuilder({"waveform": audio, "mix_stft": spectrum}, params)
        masked = builder.masked_stfts["vocals"][first:last]
        estimate = builder.WINDOW_COMPENSATION_FACTOR * tf.transpose(
            tf.signal.inverse_stft(tf.transpose(masked, perm=[2, 0, 1]), length, step, window_fn=tf.signal.hann_window)
        )
        saver = tf.compat.v1.train.Saver()
        # One layer at a time, each on all cores: both stems' networks at once take 30 MB more and are no faster.
        session = tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1))
        saver.restore(session, checkpoint)
        greeting = f"{len(tf.compat.v1.global_variables())} variables of {checkpoint}"

    def vocals(content, begin, end):
        given = np.frombuffer(content, "<f4").reshape(samples, 2)
        return session.run(estimate, {audio: given, first: begin, last: end}).astype("<f4").tobytes()

    return greeting, vocals


if __name__ == "__main__":
    # The same numbers with a graphics card and without; no pages of messages.
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    serve(*network(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
