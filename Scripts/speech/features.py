"""Features of a wave: log energy and 40 log-mel filters, as Kaldi computes them."""

from __future__ import annotations

import kaldi_native_fbank as knf
import numpy as np

COLUMNS = 41
# Seconds from one frame to the next, and of each frame.
SHIFT, WINDOW = 0.010, 0.025


def log_mel(wave: np.ndarray, rate: int) -> np.ndarray:
    """[frames, 41]: column 0 is the log energy, 1 to 40 are the log-mel filters up to 8 kHz.

    wave: samples in the range of int16; rate: samples a second, 16,000 or more. Frame t is centred at (t + 1/2) · 10 ms;
    nothing in it is random (dither 0)."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.frame_opts.frame_shift_ms = 1000 * SHIFT
    options.frame_opts.frame_length_ms = 1000 * WINDOW
    options.mel_opts.num_bins = 40
    options.mel_opts.high_freq = 8000
    options.use_energy = True
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(rate, wave.astype(np.float32).tolist())
    fbank.input_finished()
    rows = [fbank.get_frame(t) for t in range(fbank.num_frames_ready)]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, COLUMNS), np.float32)
