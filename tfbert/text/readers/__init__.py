"""File formats: detection, columns, and one reader per format that yields rows or messages for bad rows."""
