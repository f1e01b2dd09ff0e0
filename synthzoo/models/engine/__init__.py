"""NequIP on the CPU without torch: what a network computes, and how."""
