"""The command line of bookkeeper: one module per noun computes, `render` prints."""
