"""Spleeter's network in a process of its own: segments of audio in, their vocals out.

Run by path with the Python of spleeter's own environment (`tools/spleeter.sh`), where
nothing of svs is installed; `svs.separators.spleeter` starts it and talks to it:

    python -I svs/separators/spleeter_worker.py CHECKPOINT SEPARATION_EXPONENT MASK_EXTENSION

Frames of bytes over standard input and output, little endian:

    answer   b"svsA", uint32 bytes that follow, those bytes
    request  b"svsQ", uint32 first frame, uint32 last frame (exclusive), uint32 bytes that follow, those bytes

The first answer comes unasked, when the checkpoint is loaded: what was loaded, in
UTF-8.  A request holds the samples of one segment, float32 (527360, 2) at 44.1 kHz, its
answer what the frames asked for add to the vocals, float32 (1024 (frames - 1) + 4096, 2):
the sum of these over a song, at their places, is the estimate.  It ends when its input
does.  Whatever is printed goes to standard error.
"""

import os
import struct
import sys

ANSWER = struct.Struct("<4sI")
REQUEST = struct.Struct("<4sIII")


def receive(stream, size):
    """`size` bytes, or None where the stream has ended before the first of them."""
    pieces = b""
    while len(pieces) < size:
        piece = stream.read(size - len(pieces))
        if not piece:
            if pieces:
                raise EOFError(f"the request broke off after {len(pieces)} of {size} bytes")
            return None
        pieces += piece
    return pieces


def serve(stream, out, greeting, vocals):
    """Answer requests until there are no more; `vocals(bytes, first, last)` gives the bytes of an answer."""

    def answer(content):
        out.write(ANSWER.pack(b"svsA", len(content)))
        out.write(content)
        out.flush()

    answer(greeting.encode())
    while True:
        header = receive(stream, REQUEST.size)
        if header is None:
            return
        magic, first, last, size = REQUEST.unpack(header)
        if magic != b"svsQ":
            raise ValueError(f"expected a request, got {magic!r}")
        content = receive(stream, size)
        if content is None:
            raise EOFError("the request broke off after its header")
        answer(vocals(content, first, last))


def network(checkpoint, exponent, extension):
    """Load the checkpoint, once, into the graph that spleeter itself builds.

    Spleeter's own `Separator` reads the checkpoint again with every call and, where it
    finds none, goes on with random weights; a Saver refuses a checkpoint that lacks any
    of the graph's variables.

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
        # Spleeter computes this itself unless it is given, but with a frame of zeros in front of every waveform.
        spectrum = tf.transpose(tf.signal.stft(tf.transpose(audio), length, step), perm=[1, 2, 0])
        builder = EstimatorSpecBuilder({"waveform": audio, "mix_stft": spectrum}, params)
        masked = builder.masked_stfts["vocals"][first:last]
        estimate = builder.WINDOW_COMPENSATION_FACTOR * tf.transpose(
            tf.signal.inverse_stft(tf.transpose(masked, perm=[2, 0, 1]), length, step, window_fn=tf.signal.hann_window)
        )
        saver = tf.compat.v1.train.Saver()
        # One layer at a time (each on all cores): both stems' networks at once hold 30 MB more and are no faster.
        session = tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1))
        saver.restore(session, checkpoint)
        greeting = f"{len(tf.compat.v1.global_variables())} variables of {checkpoint}"

    def vocals(content, begin, end):
        given = np.frombuffer(content, "<f4").reshape(samples, 2)
        return session.run(estimate, {audio: given, first: begin, last: end}).astype("<f4").tobytes()

    return greeting, vocals


def main():
    # Print to standard error from here on: the answers alone go where standard output went.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # The same numbers with a graphics card and without; no pages of messages.
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    serve(sys.stdin.buffer, out, *network(sys.argv[1], float(sys.argv[2]), sys.argv[3]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # nobody waits for the answer any more
        os._exit(1)
