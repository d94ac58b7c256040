"""Owns plain files of this machine made from stored trees, by a writer that follows no link.
It must not know how anything arrived."""
