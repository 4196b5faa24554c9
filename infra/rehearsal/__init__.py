"""The rehearsal: a labelled archive played through the real loop, faster than life.

It answers a plant's first question before anything is installed on a line: what would this have brought on our own
archive? The parts are the real ones: device processes, bucket, flows, registry, signed releases. Only two things are
acted: the camera (files that appear in a folder) and the person who labels (the archive's own labels, given only for
samples that were captured and only within a budget).
"""
