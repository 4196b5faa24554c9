"""The tag of a version's other files (rules of flows/variants.py)."""

from __future__ import annotations

import pytest

from edge_client.contract.errors import AndonError
from flows.tags import Tag
from flows.variants import Variant, digests_of, tag_of, variants_of

TWIN = Variant(engine_id="e1-fp32", engine_sha256="b" * 64, engine_bytes=14, variant="fp32", provider="openvino")


def test_the_tag_is_read_as_it_was_written() -> None:
    tags = {Tag.VARIANTS: tag_of([TWIN]), Tag.ENGINE_SHA256: "a" * 64}
    assert variants_of(tags) == (TWIN,)
    assert digests_of(tags) == ("a" * 64, "b" * 64)
    assert variants_of({}) == ()
    assert digests_of({}) == ()


@pytest.mark.parametrize("text", ["{", "[1]", '[{"engine_id": "e1"}]', tag_of([TWIN]).replace("e1-fp32", "../e1")])
def test_a_tag_that_somebody_wrote_by_hand_is_refused_and_counts_no_file(text: str) -> None:
    tags = {Tag.VARIANTS: text, Tag.ENGINE_SHA256: "a" * 64}
    with pytest.raises(AndonError):
        variants_of(tags)
    assert digests_of(tags) == ("a" * 64,)
