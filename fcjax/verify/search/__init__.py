"""Search for the points at which a rule is wrong."""

from .search import search as search
