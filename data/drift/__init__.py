"""Drift: whether the line still looks as it did in its reference period, without labels.

Three things are watched on every device: captured samples as images and as embeddings (:mod:`data.drift.watch`), and
the rates of classes, verdicts and anomalies over all frames (:mod:`data.drift.rates`). :mod:`data.drift.look` is the
shell round them; what follows an alarm is policy (:mod:`flows.drift`).
"""
