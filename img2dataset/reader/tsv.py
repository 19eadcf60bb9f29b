"""A tsv list: a csv list with tabs."""

from __future__ import annotations

from img2dataset.reader.csv import Csv


class Tsv(Csv):
    """Quotes mean in it what they mean in a csv list."""

    name = "tsv"
    delimiter = "\t"
