"""Training: masks, the two-stage loop, checkpoints that resume exactly, run folders."""
