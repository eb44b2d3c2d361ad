"""The recipe that makes `models/demo/`: a tiny but true SDXL, trained from nothing on composed pictures."""
