"""What to do about a problem that a client tells of.

Problems are sentences, written where they are found; here the first words that fit give the remedy. A problem that
nothing fits is for the doctor, which looks further than the client does.
"""

_DOCTOR = "run `andon-edge doctor`: it tries everything this device needs"

#: Words in a problem → remedy; the first that fits. More particular ones come first.
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("credentials need attention", "run `andon-edge doctor`; if the device was not revoked, enrol it again"),
    ("refuses", "run `andon-edge doctor`; if the device was not revoked, enrol it again"),
    ("metadata has expired", "set the clock if it is wrong; else the cloud's release flow must run (`andon status`)"),
    ("refused as a replay", "ask who writes to releases/: an older state of it was put back"),
    ("does not verify", "run `andon-edge doctor`; ask who writes to releases/"),
    ("not approved", "approve the engine (`andon release`), or move the alias back"),
    ("is in use by another process", "stop the other client, or give this one its own device.state"),
    ("another process", "stop the other client, or give this one its own device.state"),
    ("no space left", "free some space on the disk of device.state; capture goes on by itself"),
    ("the disk is full", "free some space on the disk of device.state; updates go on by themselves"),
    ("read-only file system", "mount the disk for writing; a card that turns read-only is worn: replace it"),
    ("input/output error", "the disk fails: replace it; what is on it may still be carried out (`andon-edge export`)"),
    ("was damaged", "check the disk; a new one was begun, what was set aside lies beside it"),
    ("metrics are off", "choose another metrics.port"),
    ("telemetry", "pip install 'andon-edge[telemetry]', or set telemetry.enabled = false"),
    ("gives no frames", "check the camera's cable and power; it is opened again by itself"),
    ("heartbeat", "nothing if the network is away: it is sent again; else run `andon-edge doctor`"),
    ("an engine was left", "nothing: a good engine serves; the reason went to the cloud with the heartbeat"),
    ("capture is off", "run `andon-edge doctor`; inspection goes on, nothing is kept for learning"),
    ("updates are off", "run `andon-edge doctor`; the factory engine inspects meanwhile"),
)


def remedy_for(problem: str) -> str:
    """Return what to do about a problem.

    >>> remedy_for("capture: [Errno 28] No space left on device")
    'free some space on the disk of device.state; capture goes on by itself'
    """
    lower = problem.lower()
    return next((remedy for words, remedy in _REMEDIES if words in lower), _DOCTOR)
