"""The things of a simulated Discord: plain records that can draw themselves as Discord's JSON, and nothing else."""
