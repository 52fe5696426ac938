"""From recordings to samples: readers, the phantom, the frame store, the label budget, clips."""
