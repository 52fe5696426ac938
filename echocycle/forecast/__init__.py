"""What a training will take, before it is begun: hours, memory, disk, weights."""
