"""The kind `TransitDataset`."""
