"""How a process of ``andon-edge`` ends: by a signal, or to begin anew.

Replacing the process's program needs no supervisor and confuses none: the process id stays, so that systemd goes on
watching it, and standard input and output stay open. A signal to end is never turned into a new beginning.
"""

import os
import sys
import threading


class Ending:
    """Why and whether a process ends.

    Attributes:
        stop: Set when it should end its work in order.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._ended = threading.Event()
        self._again = threading.Event()

    def end(self, *_: object) -> None:
        """End for good; the handler of a signal."""
        self._ended.set()
        self.stop.set()

    def begin_anew(self) -> None:
        """End, and begin anew."""
        self._again.set()
        self.stop.set()

    @property
    def anew(self) -> bool:
        """Whether the process begins anew."""
        return self._again.is_set() and not self._ended.is_set()

    def follow(self) -> None:
        """Begin anew if that was asked for, when everything was ended in order: it does not return then."""
        if self.anew:
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- its own command line, no shell
