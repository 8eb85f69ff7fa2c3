"""Files in and out; nothing else in exitwave knows a file layout."""
