"""Training: from labelled images to one calibrated, self-contained ONNX engine, and the evidence for judging it.

Plain functions and Lightning modules over values: no Prefect, no S3, no catalog. The door is `training.fit.fit`.
"""
