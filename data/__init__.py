"""The cloud's memory: catalog of samples and labels, ingest of uploads, the lake, snapshots, data sources.

Everything here is plain functions over a :class:`~data.catalog.Catalog` (what is known), a
:class:`~data.lake.Lake` (the images) and the bucket (what devices sent). Start from
:class:`~data.workspace.Workspace`, which knows where one installation keeps all three.
"""
