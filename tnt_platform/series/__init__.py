"""Economic series: a published source becomes captures, normalized series and a history of observations."""
