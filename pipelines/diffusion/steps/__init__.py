"""One UNet call for the steps of several runs: what is asked, on which cores, and whether together is faster."""
