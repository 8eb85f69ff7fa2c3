"""Files: one module a format; nothing else in exitwave knows a file layout."""
