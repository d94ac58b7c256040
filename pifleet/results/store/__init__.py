"""Owns what is kept at home: one bare git store per sandbox, its generations and how they are read.
It must not know how anything arrived or what plain files look like."""
