"""Groups of neighbouring frames on one canvas: their images, and how these become one."""
