"""The nets and solvers of the released experiments, one folder a setting, and the generator that writes them."""
