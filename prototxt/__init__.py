"""The nets and solvers of the released experiments, one folder for each setting, and the generator that writes them."""
