"""The fine-tune tier: the trunk itself learns from the inspection's labels, when the head alone no longer gains.

    plan      how to fine-tune, as a value
    held      which groups no trunk is ever trained on: what stays honest afterwards
    frames    resized frames in memory
    augment   what a frame may also have looked like
    module    backbone, head, loss and averaged weights, for Lightning
    run       training that is resumed after a kill to the same bits
    weights   a backbone's weights as a file without code
    tuned     from a plan and frames to a new trunk
    tier      whether fine-tuning is worth it, from measured scores

Importing anything here but `plan`, `held` and `tier` imports torch.
"""
