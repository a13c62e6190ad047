"""See a training step: a page with every array of the forward and the backward pass."""

from .explain import Page as Page, explain as explain
