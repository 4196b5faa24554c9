"""The contract between devices and the cloud: names, documents and rules that both sides share.

The only part of `edge_client` that the cloud side imports. Nothing here keeps state or starts a thread.
"""
