"""From a folder without a label to a model, in the browser: trace, train, compare, look at what teaches most."""
