"""What a retrain may be asked for; apart from `tiers`, which imports all of training."""

from edge_client.contract.errors import ConfigError

HEAD, FINE_TUNE, AUTO = "head", "finetune", "auto"
TIERS = (HEAD, FINE_TUNE, AUTO)


def check_tier(tier: str) -> str:
    """Return the tier if it is one.

    Raises:
        ConfigError: It is not.
    """
    if tier not in TIERS:
        raise ConfigError(f"tier = {tier!r}: expected one of {list(TIERS)}")
    return tier
