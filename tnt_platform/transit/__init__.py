"""Time in transit: shipper files become enriched, compared, published results."""
