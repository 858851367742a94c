"""Geometry of the charts: numbers in, what an SVG needs out; the templates draw it."""
