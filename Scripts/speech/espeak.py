"""Speech from text with the phones' exact times: the part of libespeak-ng that this needs, through ctypes."""

from __future__ import annotations

import ctypes
import re

import numpy as np

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, nothing is played.
_PHONEME_EVENTS, _DO_NOT_EXIT = 0x0001, 0x8000
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_END_OF_LIST, _PHONEME = 0, 7  # espeak_EVENT_TYPE
_UTF8 = 1


class _Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class SpeechError(Exception):
    """The library is missing or refuses what it was asked."""


class Synthesizer:
    """One a process. The library carries state from one utterance to the next (flutter, noise): whoever wants the same samples
    again synthesises each utterance in a fork of its own."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise SpeechError(f"libespeak-ng.so.1: {error}; Debian's package is libespeak-ng1") from error
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _DO_NOT_EXIT)
        if self.rate <= 0:
            raise SpeechError("libespeak-ng cannot start; Debian's package of its voices is espeak-ng-data")
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version = self._library.espeak_Info(None).decode().split()[0]
        self._waves: list[np.ndarray] = []
        self._phones: list[tuple[int, str]] = []
        # The library keeps its address: it must live as long.
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, wave, count: int, events) -> int:
        if wave and count > 0:
            self._waves.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != _END_OF_LIST:
            if events[i].type == _PHONEME:
                self._phones.append((events[i].sample, events[i].id.string.decode()))
            i += 1
        return 0

    def say(self, text: str, voice: str, words_a_minute: int, pitch: int) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Samples (int16) and, in order, the sample at which each phone begins and its name. What is before the first is silence."""
        self._waves, self._phones = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SpeechError(f"voice {voice}: unknown to libespeak-ng {self.version}")
        self._library.espeak_SetParameter(_RATE, words_a_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        content = text.encode() + b"\0"
        if self._library.espeak_Synth(content, len(content), 0, 1, 0, _UTF8, None, None) != 0 or not self._waves:
            raise SpeechError(f"libespeak-ng does not say {text!r}")
        return np.concatenate(self._waves), self._phones


def plain_phone(name: str) -> str:
    """The phone without the marks of its variants (`aI2` and `t#` are `aI` and `t`), so that every accent has nearly the same
    ones; `sil` for pauses."""
    if name.startswith("_"):
        return "sil"
    return re.sub(r"(?<=.)[0-9]+$", "", re.sub(r"(?<=.)[#-]+$", "", name))
