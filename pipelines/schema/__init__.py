"""What everybody speaks: requests, events, errors, settings, sizes, models. Never imports torch."""
