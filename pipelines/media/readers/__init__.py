"""What other programs write into their pictures, in the words of our requests. Nothing in a file is run or followed."""
