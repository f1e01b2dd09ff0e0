"""Models where simulations run: LAMMPS, i-PI, compiled networks."""
