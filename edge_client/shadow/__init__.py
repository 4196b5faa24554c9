"""Shadow: a challenger answers some of the frames too, unseen, so that it is known where it would differ."""
