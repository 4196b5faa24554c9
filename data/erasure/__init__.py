"""Erasure: what is asked to be forgotten goes, what estimates rest on stays as numbers.

1. A sample that is erased keeps its row: where it came from, its chances, what the engine said, its labels. Its image,
   embedding, part, group, context and the time within the day are gone. So no rate changes, and a device that sends it
   again finds it taken.
2. An erasure is a row of its own (`jobs`). What it is about stands there until it is done, and no longer; then its
   counts alone are left. One that was killed is gone on with, and asked for twice it finds nothing.
3. Nothing that is still referred to is deleted: images move to a new file first, then the catalog points there, then
   the old file goes. Between the last two the catalog remembers what is to be deleted.
4. A person is replaced by a pseudonym that nobody keeps a key to: who said what among the others stays right.
"""
