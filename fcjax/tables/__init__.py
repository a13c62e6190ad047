"""Networks for tables: from a file to a trained model, and from new rows to predictions."""

from .model import TableModel as TableModel
from .reading import batches as batches, read as read
from .train import train_table as train_table
