"""Comparisons of tfbert with other libraries on public data; not part of the installed package."""
