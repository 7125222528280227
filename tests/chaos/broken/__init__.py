"""Gateway pods that are broken on purpose, one per class of invariant: chaos that finds nothing wrong with them finds nothing at all."""
