"""The fake family and its clip, for the tests of this folder."""

from fake_family import clip, family, folder

__all__ = ["clip", "family", "folder"]
